import torch

from skdual.training.loop.kept_weights import KeptWeights


def test_the_latest_kept_parameters_and_buffers_come_back():
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    kept = KeptWeights(module)
    for epoch in (1, 2):
        with torch.no_grad():
            module[0].weight.fill_(epoch)
        module(torch.randn(8, 3))  # moves the buffers
        kept.keep(epoch)
    expected = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad():
        module[0].weight.fill_(9)
    module(torch.randn(8, 3))
    kept.restore()
    assert kept.epoch == 2
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
