"""The sandbox: adapters, texts of Python that a fix carries, run in processes that hold nothing of the service's.

Which texts are fit to be stored says `healspan.remediation.adapter`. Here, `crossing` and `rebuilding` say what of the
service's values crosses and how it comes back, `notation` how that is written between the processes, `broker` what
runs at the other end, `worker` and `pool` how it is kept and bounded, `host` what an adapter may ask, `adaptation` one
use from beginning to end.
"""

from healspan.remediation.sandbox.adaptation import Sandbox
from healspan.remediation.sandbox.worker import is_installed

__all__ = ["Sandbox", "is_installed"]
