"""The database revisions of Squid Mesh; they travel in the wheel."""
