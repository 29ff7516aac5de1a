"""A package, so that one browser and one JupyterLab serve these tests and are gone before the others."""
