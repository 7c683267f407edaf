"""A grid's runs in one file, for another store: written, verified and merged.

A bundle is a ZIP archive. Against a tar archive: its directory names every member with its size, so that all of it is judged
before anything is unpacked; it has no links or devices of its own; and everybody can look into it.
"""
