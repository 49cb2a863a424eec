import pytest
import torch

from skdual.training.span.branch import SpanCoordinates


@pytest.mark.parametrize("with_mixed", [True, False])
@pytest.mark.parametrize(("n_members", "n_plain"), [(1, 0), (2, 1), (3, 1), (8, 4)])
def test_each_regularised_member_may_have_coordinates_of_its_own(n_members, n_plain, with_mixed):
    n_spans = n_members - n_plain + bool(n_plain)
    x, mixed = torch.randn(2, n_spans, 6, 4)
    side_by_side = [torch.cat(list(of), dim=1) for of in (x, mixed)]
    taken = {}
    for rows, members in SpanCoordinates(4)(n_members, side_by_side[0], side_by_side[1] if with_mixed else None):
        of_members = rows if rows.ndim == 3 else rows.expand(members.stop - members.start, *rows.shape)
        taken |= dict(zip(range(members.start, members.stop), of_members, strict=True))
    assert sorted(taken) == list(range(n_members))
    for member, rows in taken.items():
        span = 0 if member < n_plain else member - n_plain + bool(n_plain)
        assert torch.equal(rows, (mixed if with_mixed and member >= n_plain else x)[span])
