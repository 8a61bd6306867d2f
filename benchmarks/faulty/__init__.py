"""What the fault-injection benchmark (`faults.py`) is made of; importing it registers the faults."""

from faulty import healable, lasting

__all__ = ["healable", "lasting"]
