# Everything that the project needs it installs itself: system packages by apt (as root or with sudo), Python packages,
# pinned by hash, into .venv. A second run installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := nftables iproute2 util-linux openssl prometheus prometheus-alertmanager nginx-light libnginx-mod-http-echo \
	postgresql wireguard-go wireguard-tools iperf3 curl procps python3-venv
TESTED_WITH := chromium chromium-driver fonts-dejavu-core prometheus-pushgateway

.PHONY: drill test test-slow unit check format bench system lock clean

drill: $(VENV)/.installed system
	$(BIN)/drills run playbooks/zero-trust.yaml --lab

test: $(VENV)/.installed system tested-with compiled
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

# What takes hours, or runs in real time.
test-slow: $(VENV)/.installed system tested-with
	$(BIN)/pytest -m slow --timeout=0 -s

unit: $(VENV)/.installed compiled
	$(BIN)/pytest -n 2 tests/unit

# Many short commands run, and where Python may write no bytecode each would compile all that it imports.
.PHONY: compiled
compiled: $(VENV)/.installed
	@$(BIN)/python -m compileall -q drills alerts playbooks

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

# The page of every finding, made from the checks themselves.
.PHONY: docs
docs: $(VENV)/.installed
	$(BIN)/python tools/make_finding_pages.py

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The kustomize base of the shipped playbooks; a test compares it with what this makes.
.PHONY: base
base: $(VENV)/.installed
	$(BIN)/drills manifests playbooks/admin-path.yaml playbooks/flood.yaml playbooks/zero-trust.yaml --out deploy \
		--schedule '0 3 * * *' --schedule '0 2 * * 0' --schedule '0 4 * * 0' --rule-label release=kube-prometheus-stack

bench: $(VENV)/.installed system
	$(BIN)/python -m bench

# Asks the product itself what is missing, and installs only if something is.
system: $(VENV)/.installed
	@$(BIN)/drills doctor --quiet || $(MAKE) --no-print-directory packages

# The report is looked at in a real browser, metrics go to a real Pushgateway; only the tests need them.
.PHONY: tested-with
tested-with:
	@{ command -v chromedriver && command -v prometheus-pushgateway; } >/dev/null || { run() { if [ "$$(id -u)" = 0 ]; then "$$@"; else sudo "$$@"; fi; }; \
	run apt-get update -qq && run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(TESTED_WITH); }

.PHONY: packages
packages:
	@command -v apt-get >/dev/null || { $(BIN)/drills doctor; exit 3; }
	@run() { if [ "$$(id -u)" = 0 ]; then "$$@"; else sudo "$$@"; fi; }; \
	run apt-get update -qq && run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES)
	@$(BIN)/drills doctor

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "drills needs Python 3.11 or later; set PYTHON=..." >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { run() { if [ "$$(id -u)" = 0 ]; then "$$@"; else sudo "$$@"; fi; }; \
	run apt-get update -qq && run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--config-settings editable_mode=compat -e .
	@touch $@

lock: $(VENV)/.installed
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras --no-header \
		-o requirements.lock pyproject.toml
	echo 'setuptools>=77' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--extra cluster --extra load --extra probe -c requirements.lock -o requirements-image.lock pyproject.toml -

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
