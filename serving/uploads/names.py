"""What a video may be called: anything that can be shown."""

import re
from typing import Final

#: Characters that are not shown, and do something instead: of ASCII, and those after it.
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: Of a text without any, for schemas. What stands behind `$` is for Python alone, where that matches before a last line
#: break, too.
PLAIN_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)"
