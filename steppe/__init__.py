"""The small offline world: its vocabulary, its drawings and captions, and what is trained on them.

`world` says what there is, `captions` puts it into words, `draw` puts it into pictures, `aldar` knows the hero.
"""

import models  # noqa: F401  (before any module here imports torch: it says how OpenMP's threads wait)
