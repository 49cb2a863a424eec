import pytest
import torch

from skdual.network.members import MemberInputs
from skdual.training.span.branch import SideBySide, SpanCoordinates


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


def test_regularised_members_may_have_coordinates_in_common():
    x, mixed = torch.randn(2, 6, 8)
    (plain, of_plain), (others, of_others) = SpanCoordinates(4)(5, x, mixed)
    assert (of_plain, of_others) == (slice(0, 2), slice(2, 5))
    assert torch.equal(plain, x[:, :4])
    assert torch.equal(others, mixed[:, 4:])


@pytest.mark.parametrize("with_mixed", [True, False])
def test_of_rows_side_by_side_plain_members_take_the_first(with_mixed):
    x, mixed = torch.randn(2, 6, 8)
    columns = MemberInputs()
    columns.relevance = torch.rand(3, 1, 4)
    (plain, _), (others, _) = SideBySide(columns)(3, x, mixed if with_mixed else None)
    assert torch.equal(plain, x[:, :4])
    assert torch.equal(others, (mixed if with_mixed else x)[:, 4:] * columns.relevance[1:])
