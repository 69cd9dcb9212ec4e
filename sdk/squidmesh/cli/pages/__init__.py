"""What people see of a run, an explanation, a rollback: from views to blocks.

The rule of this package: it reads nothing and shows nothing; the same page is drawn on a terminal and as plain lines.
"""
