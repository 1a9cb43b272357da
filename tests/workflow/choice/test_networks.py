import pytest

from classifier.models.factory import build_network
from classifier.models.flops import count_multiply_adds
from classifier.training import presets
from stage.overrides import override_all
from workflow.choice.networks import Network, offered
from workflow.choice.networks import count_multiply_adds as published


@pytest.mark.parametrize("index", [0, 3])
def test_costs_are_those_of_the_graph(index):
    network = offered()[index]
    recipe = presets.find(network.preset)
    model = build_network(recipe.model, image_size=network.size, num_classes=10)
    counted = count_multiply_adds(model)
    assert network.multiply_adds == pytest.approx(counted, rel=0.1)


def test_the_published_cost_has_two_operations_for_each_multiply_add():
    # 2.279 billion, counted in the graph.
    assert published(50, 160) == pytest.approx(2.279e9, rel=0.01)


def test_networks_come_by_their_cost():
    costs = [network.multiply_adds for network in offered()]
    assert costs == sorted(costs)
    assert len({str(network) for network in offered()}) == len(costs) == 15


@pytest.mark.parametrize("network", offered(), ids=str)
def test_flags_give_a_preset_its_size(network: Network):
    assignments = [flag.removeprefix("--set=") for flag in network.flags]
    recipe = override_all(presets.find(network.preset), assignments)
    assert recipe.image.size == network.size
