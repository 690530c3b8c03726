# make demo   two voices separated by the trained model      make test   everything CI runs
# make lint   ruff and mypy      make bench   speeds here    make dist   wheels, tried where no checkout is
# make docs   the site, in site/                         make reproduce TASK=... DATA=folder   a card's tables
# make gpu-bundle [PLUGIN=...] [DATA=folder]   what to carry to a machine with a GPU and no network
PYTHON  ?= python3
PY      := .venv/bin/python
PLUGINS := $(sort $(dir $(wildcard plugins/*/pyproject.toml)))
STAMP   := .venv/.installed
NATIVE  := ./kernels/native
INSTALL := $(if $(shell command -v uv),uv pip install --python $(PY),$(PY) -m pip install --disable-pip-version-check)
EDITABLE := $(NATIVE) -e '.[train,dev]' $(foreach p,$(PLUGINS),-e $(patsubst %/,%,$(p)))

.PHONY: demo test lint bench docs dist reproduce gpu-bundle clean
demo: $(STAMP)
	$(PY) examples/separate_two_voices.py --out demo_output

test: $(STAMP)
	$(PY) -m pytest -m "not gpu"
	$(MAKE) dist

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy mamba_core kernels/mamba_kernels registry/mamba_registry

bench: $(STAMP)
	.venv/bin/mamba-core bench

docs: $(STAMP)
	@$(PY) -c "import material, mkdocstrings_handlers.python" 2>/dev/null || $(INSTALL) -e '.[docs]'
	$(PY) -m mkdocs build --strict

dist: $(STAMP)
	$(PY) scripts/dist.py

reproduce: $(STAMP)
	@$(PY) scripts/reproduce.py $(TASK) $(if $(DATA),--data '$(DATA)') $(if $(OUT),--out '$(OUT)')

gpu-bundle: $(STAMP)
	$(PY) scripts/gpu_bundle.py $(if $(PLUGIN),--plugin '$(PLUGIN)') $(if $(DATA),--data '$(DATA)')

# The stamp is written last: an interrupted installation is taken up again.
$(STAMP): pyproject.toml $(wildcard plugins/*/pyproject.toml) \
          $(wildcard $(addprefix $(NATIVE)/,pyproject.toml CMakeLists.txt src/* mamba_kernels_native/*.py))
	@if command -v uv >/dev/null; then \
	  test -x $(PY) || uv venv --python 3.11 .venv; \
	else \
	  test -x $(PY) && $(PY) -m pip --version >/dev/null || $(PYTHON) -m venv --clear .venv; \
	fi
	@$(INSTALL) $(EDITABLE)
	@touch $@

clean:
	rm -rf .venv dist build site gpu-bundle demo_output .pytest_cache .mypy_cache .ruff_cache
