"""The small offline world: its vocabulary, drawings and captions, and the training of the steppe models on them.

`world` defines the vocabulary and scenes, `captions` describes scenes in words, `draw` draws them, `aldar` is the hero.
"""

import models  # noqa: F401  (sets how OpenMP's threads wait, which must happen before torch is imported)
