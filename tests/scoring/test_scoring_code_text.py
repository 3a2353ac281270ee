"""Code out of an answer, with and without fences."""

import pytest

from tunelab.scoring.code_text import take_code


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("int f ( ) { }", "int f ( ) { }"),
        ("Sure:\n```java\nint f();\n```\nIt returns nothing.", "int f();"),
        ("```\nint f();\n```", "int f();"),
        ("``` c++\nint f();\n```", "int f();"),
        ("```java\nint f();\nint g();", "int f();\nint g();"),
        ("```int f();```", "int f();"),
        ("int f();\n```", "int f();"),
        ("```java\n```\n```java\nint f();\n```", "int f();"),
        ("```python\n\n    return 1\n```", "    return 1"),
        ("first:\n```\na\n```\nsecond:\n```\nb\n```", "a"),
        ("```", ""),
        ("", ""),
    ],
)
def test_the_first_block_with_code_counts_else_the_text(output, code):
    assert take_code(output) == code
