"""Features: what a case asks for beside the plain convolution, each on a case that has it and on one that has not."""

from __future__ import annotations

import pytest
from arrconv_conformance import Case, quick
from arrconv_conformance.features import FEATURES, features_of

PLAIN = "n=2 c=3 o=4 x=9,7 k=3,2"
ONE = " member=conv dtype=float32 data=integers"


@pytest.mark.parametrize(
    ("text", "features"),
    [
        (PLAIN + ONE, ["plain", "2-D"]),
        (PLAIN, ["plain", "2-D"]),
        (f"{PLAIN} s=1,2" + ONE, ["stride", "2-D"]),
        (f"{PLAIN} p=1,2" + ONE, ["padding", "2-D"]),
        (f"{PLAIN} p=0:1,0" + ONE, ["padding", "unequal padding", "2-D"]),
        (f"{PLAIN} p=-1,0" + ONE, ["cropping", "2-D"]),
        (f"{PLAIN} p=-1:2,0" + ONE, ["padding", "unequal padding", "cropping", "2-D"]),
        (f"{PLAIN} p=valid" + ONE, ["padding by name", "2-D"]),
        (f"{PLAIN} p=same_upper" + ONE, ["padding", "unequal padding", "padding by name", "2-D"]),
        (f"{PLAIN} d=1,3" + ONE, ["dilation", "2-D"]),
        ("n=2 c=3 o=4 x=9,7 k=3,1 d=1,3" + ONE, ["plain", "2-D"]),  # of a kernel of one element
        ("n=2 c=6 o=4 g=2 x=9,7 k=3,2" + ONE, ["groups", "2-D"]),
        ("n=2 c=3 o=6 g=3 x=9,7 k=3,2" + ONE, ["depthwise", "2-D"]),
        ("n=2 c=1 o=6 x=9,7 k=3,2" + ONE, ["plain", "2-D"]),
        (f"{PLAIN} p=1 mode=circular" + ONE, ["padding", "circular", "2-D"]),
        (f"{PLAIN} p=1 mode=reflect" + ONE, ["padding", "reflect", "2-D"]),
        (f"{PLAIN} p=1 mode=replicate" + ONE, ["padding", "replicate", "2-D"]),
        ("n=2 c=3 o=4 x=10,7 k=3,2 s=2,1 member=conv_transpose", ["stride", "output padding", "2-D"]),
        ("n=2 c=3 o=4 x=10,7 k=3,2 s=2,1 member=conv", ["stride", "2-D"]),
        ("n=2 c=3 o=4 x=9,7 k=3,2 s=2,1 member=conv_transpose_grad_bias", ["stride", "2-D"]),
        ("n=2 c=3 o=4 x=- k=-" + ONE, ["plain", "0-D"]),
        ("n=2 c=3 o=4 x=5 k=2" + ONE, ["plain", "1-D"]),
        ("n=2 c=3 o=4 x=5,4,6 k=2,1,3" + ONE, ["plain", "3-D"]),
        ("n=2 c=3 o=4 x=5,4,6,2 k=2,1,3,2" + ONE, ["plain", "4-D"]),
        ("n=2 c=3 o=4 x=5 k=9" + ONE, ["1-D", "empty"]),
        ("n=0 c=3 o=4 x=5 k=2" + ONE, ["1-D", "empty"]),
        (PLAIN + ONE + " layout=x:last", ["2-D", "layouts"]),
        *(
            (f"{PLAIN} member=conv dtype=float32 data={data}", ["2-D", feature])
            for data, feature in {
                "nan": "NaN and infinity",
                "inf": "NaN and infinity",
                "huge": "NaN and infinity",
                "subnormal": "subnormal",
                "underflow": "subnormal",
                "wide": "wide range",
            }.items()
        ),
        ("n=1 c=250 o=4 x=3 k=2" + ONE, ["1-D", "long sums"]),
        ("n=1 c=249 o=4 x=3 k=2" + ONE, ["plain", "1-D"]),
        ("n=100 c=1 o=2 x=6 k=2" + ONE, ["1-D", "long sums"]),  # of the gradient of the weight
    ],
)
def test_the_features_of_a_case(text: str, features: list[str]) -> None:
    assert features_of(Case.parse(text)) == features


def test_every_feature_is_in_the_quick_cases_in_the_order_of_the_columns() -> None:
    seen = set()
    for case in list(quick())[::5]:
        found = features_of(case)
        assert found == sorted(found, key=FEATURES.index)
        assert found == list(dict.fromkeys(found))
        assert sum(feature.endswith("-D") for feature in found) == 1
        seen.update(found)
    assert seen == set(FEATURES)
