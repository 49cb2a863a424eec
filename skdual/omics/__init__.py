"""Readers of AnnData and MuData, the containers of single-cell data; need the extra ``omics``."""

from .anndata import from_anndata
from .mudata import from_mudata

__all__ = ["from_anndata", "from_mudata"]
