"""Pictures by the million: several processes of one machine, or a cluster by Ray Data. See docs/large-scale.md."""

from zoo.bulk.pipeline import Drawing
from zoo.bulk.run import Report, translate

__all__ = ["Drawing", "Report", "translate"]
