"""How much memory there is, as the kernel tells it."""

from tunelab.models.available import available_memory, free_of, left_of


def test_a_container_s_limit_leaves_what_it_has_not_used(tmp_path):
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 40\n")
    for limit, left in (("1000", 440), ("500", 0), ("max", None)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert left_of(tmp_path) == left
    assert left_of(tmp_path / "none") is None


def test_what_can_be_had_without_swapping_is_available():
    assert free_of("MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable:   42 kB\n") == 42 * 1024
    assert free_of("MemTotal: 100 kB\n") is None


def test_a_device_of_which_nothing_is_known_has_no_number():
    assert available_memory("mps") is None
