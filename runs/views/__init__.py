"""The pages of teams, projects and runs."""
