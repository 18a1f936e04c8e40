"""The forms by which a rule is written, made from what its types declare; pages and admin share them."""
