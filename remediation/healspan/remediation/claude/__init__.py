"""Tier 2 with Claude: a structured diagnosis that passes the same gates as any other fix.

Nothing in here is imported, nor is the SDK, before a process that has a key meets a failure that nothing else can fix.
"""
