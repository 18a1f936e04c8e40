"""Tripline measures itself. Everything is read from the database when somebody asks.

No process counts for itself: any number of them run, on any number of machines, and each gives the same
answer.
"""
