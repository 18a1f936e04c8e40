"""`up --demo`: an example to look at, with a past and a training run that streams now.

At the top of the house, because it uses everything: teams and runs, the registry, rules and what they send.
"""
