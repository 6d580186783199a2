"""Tests of what loads: what every destination must do lies here, what is one's own in its folder."""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in ("contract", "drops", "merging", "merging_long")))
