"""One file per piece of the world: no decision is taken here."""
