"""Exported instances: text that can be kept, compared, replayed, and taken into a store.

Form: JSON by lines, in UTF-8.  An instance is a line that begins with ``"durable":
"instance"``, its events, a line each, run by run, and what waits in its inbox, a line each.

Rules
-----
* The first line has ``format`` (this is 1), and how many lines follow, so that a file that
  was cut is found out.  A format that is newer, an event or a field that is not known are
  refused: half a history is worse than none.
* Bytes are ``{"bytes": <base64>}`` and nothing is lost of them.  A payload has its ``value``
  beside them, for people and for comparisons: only the bytes count when it is read.
* Names and fields of events are those of `durable.events`.  Moments (``at``, and names that
  end in ``_at``) are ISO-8601 in UTC, to the microsecond.
* What belongs to the store alone is left out: owner, epoch, and what is scheduled.
"""

from durable.exports.export import FORMAT, Export
from durable.exports.reading import each_export, lines_of_file, read_exports
from durable.exports.writing import lines_of

__all__ = ["FORMAT", "Export", "each_export", "lines_of", "lines_of_file", "read_exports"]
