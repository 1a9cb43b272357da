"""Against the figures of Google's pages, see `infra.tpu.slices`."""

import pytest

from infra.tpu.slices import GENERATIONS, find_slice


@pytest.mark.parametrize(
    ("accelerator_type", "chips", "hosts"),
    [
        # Rows "VMs" of docs.cloud.google.com/tpu/docs/v6e.
        *(("v6e-1", 1, 1), ("v6e-4", 4, 1), ("v6e-8", 8, 1), ("v6e-16", 16, 4)),
        *(("v6e-32", 32, 8), ("v6e-64", 64, 16), ("v6e-128", 128, 32)),
        ("v6e-256", 256, 64),
        # The table of GoogleCloudPlatform/saxml-on-gke; 1 and 4: the v5e page.
        *(("v5litepod-1", 1, 1), ("v5litepod-4", 4, 1), ("v5litepod-8", 8, 1)),
        *(("v5litepod-16", 16, 4), ("v5litepod-32", 32, 8), ("v5litepod-256", 256, 64)),
        # "Machines" of docs.cloud.google.com/tpu/docs/v5p.
        *(("v5p-8", 4, 1), ("v5p-16", 8, 2), ("v5p-64", 32, 8), ("v5p-128", 64, 16)),
        *(("v5p-256", 128, 32), ("v5p-12288", 6144, 1536)),
        # Two cores a chip, four chips a host.
        *(("v4-8", 4, 1), ("v4-16", 8, 2), ("v4-32", 16, 4), ("v4-8192", 4096, 1024)),
    ],
)
def test_chips_and_hosts_are_those_of_googles_pages(accelerator_type, chips, hosts):
    found = find_slice(accelerator_type)
    assert (found.chips, found.hosts) == (chips, hosts)


@pytest.mark.parametrize(
    "accelerator_type",
    [
        *("", "v5litepod", "v5litepod-", "v5litepod-x", "v5e-8", "tpu7x-8", "-8"),
        *("v5litepod-0", "v5litepod-2", "v5litepod-10", "v6e-512"),
        *("v5litepod-12", "v5litepod-24", "v6e-20"),
        *("v4-4", "v4-9", "v5p-12296"),
    ],
)
def test_other_types_are_refused(accelerator_type):
    with pytest.raises(ValueError, match=r"expected an accelerator type"):
        find_slice(accelerator_type)


def test_slices_of_many_hosts_have_four_chips_on_each():
    for name, generation in GENERATIONS.items():
        number = generation.max_chips * generation.cores_per_chip
        found = find_slice(f"{name}-{number}")
        assert found.chips == 4 * found.hosts
        assert found.runtime_version == generation.runtime_version
