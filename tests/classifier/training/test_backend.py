import pytest

from classifier.models import factory
from classifier.models.config import ModelConfig
from classifier.training.backend import names_of


@pytest.mark.parametrize("name", ["resnet_rs_14", "MobileNet"])
def test_names_are_those_of_the_whole_model_in_any_order(name):
    model = factory.build_network(ModelConfig(name=name), image_size=32, num_classes=3)
    named = factory.named_variables(model)
    assert names_of(model, model.variables) == list(named)
    some = model.trainable_variables[::-2]
    names = names_of(model, some)
    assert len(set(names)) == len(some)
    for chosen, variable in zip(names, some, strict=True):
        assert named[chosen] is variable
