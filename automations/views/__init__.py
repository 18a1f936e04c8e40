"""The pages of automations, of what they did, and of inboxes."""
