"""Threads, processes and groups of them: what runs calls, and says what came of them.

Nothing is imported here: a process that is spawned needs processes.py alone.
"""
