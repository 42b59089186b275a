set shell := ["sh", "-euc"]
set positional-arguments

# As blockrig itself is built, so that nothing is compiled twice.
export CGO_ENABLED := "0"
export GOFLAGS := env("GOFLAGS", "") + " -trimpath"

self := quote(just_executable()) + " --justfile " + quote(justfile())

_list:
    @{{ self }} --list --unsorted

# the bug of the report, end to end: before it, with it, after the fix
[no-exit-message]
repro *args: deps build
    @bin/blockrig repro "$@"

# a bisection whole, on a history made of Debian's kernel sources
[no-exit-message]
bisect-demo *args: deps deps-build build
    @go run ./harness/bisect/demo "$@"

# build bin/blockrig
build: _go
    @go run ./initramfs/guest/program/build
    @go build -trimpath -buildvcs=false \
        -ldflags "-X main.revision=$(test -e .git && git describe --always --dirty --abbrev=12 2>/dev/null || true)" \
        -o bin/blockrig ./harness/cmd/blockrig

# write man pages into a folder
man dir="bin/man": _go
    @go run -tags man ./harness/cmd/blockrig man "{{ dir }}"

# write a page in Markdown for each verb into a folder
docs dir="bin/docs": _go
    @go run -tags man ./harness/cmd/blockrig docs "{{ dir }}"

# make what blockrig is installed from: packages, an archive, pages
[no-exit-message]
release dir="bin/release": _go
    @go run ./contrib/release "{{ dir }}"

# the tests that boot nothing
unit: deps-build
    go test ./...

# unit, and the tests that boot real kernels
test: deps deps-build build
    @vm=$({{ self }} tagged vm); \
    echo "go test, without the tests that boot kernels and what is tested with them"; \
    go test $(go list ./... | grep -vxF "$(printf '%s\n' "$vm" | sed "s#^\.#$(go list -m)#")"); \
    echo "go test -tags vm -p 2" $vm; \
    go test -tags vm -p 2 -timeout 20m $vm

# all tests, the very long ones too
test-all: deps deps-build build test-browser && (fuzz "1m")
    CGO_ENABLED=1 go test -race ./...
    go test -tags 'vm long' -p 1 -timeout 3h $({{ self }} tagged vm long)
    go test -tags demo -timeout 3h ./harness/bisect/demo
    go test -tags 'vm demo' -run TestBisectAllReleases -timeout 1h ./harness/cmd/blockrig

# every fuzz target, each for a while
fuzz time="1m": _go
    @grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' . | sort -u | cut -d' ' -f2 | while read -r name; do \
        dir=$(dirname "$(grep -rlE --include='*_test.go' "^func $name\\(" . | head -n 1)"); \
        echo "== $dir $name"; \
        go test "$dir" -run '^$' -fuzz "^$name\$" -fuzztime "{{ time }}" || exit 1; \
    done

# formatting, go vet, staticcheck
lint: _go
    @unformatted=$(find . -name '*.go' -not -path './results/runs/*' -exec go tool gofumpt -l {} +); \
        test -z "$unformatted" || { printf 'not formatted; fix it with go tool gofumpt -w:\n%s\n' "$unformatted" >&2; exit 1; }
    go vet ./...
    go vet -tags 'vm long demo man browser' ./...
    go tool staticcheck ./...
    go tool staticcheck -tags 'vm long demo man browser' ./...
    @for script in justw .ci/run contrib/release/try contrib/release/pre* contrib/release/post*; do sh -n "$script"; done

# how fast it is: each figure beside the one to reach; takes some minutes
[no-exit-message]
bench *args: deps build
    @go run ./harness/cmd/bench "$@" bin/blockrig

# all Go benchmarks
bench-go: deps build
    go test -tags vm -p 1 -run '^$' -bench . -benchmem -timeout 60m ./...

# install what the host needs to run blockrig
deps: _go (_need "qemu-system-x86_64:qemu-system-x86" "qemu-img:qemu-utils" "git:git")

# install what the host needs to build kernels
deps-build: _go (_need "git:git" "gcc:gcc" "/usr/include/stdio.h:libc6-dev" "make:make" "flex:flex" "bison:bison" "bc:bc" "/usr/include/libelf.h:libelf-dev" "ccache:ccache")

# the tests of pages, in a headless browser
test-browser: deps-browser
    go test -tags browser -timeout 10m $({{ self }} tagged browser)

# install the browser that pages are tested with
deps-browser: _go (_need "/usr/bin/chromium:chromium")

# list the folders with tests that carry one of the build tags
[private]
tagged *tags:
    @for tag in "$@"; do \
        find . -name '*_test.go' -not -path './results/runs/*' \
            -exec grep -lE "^//go:build (.*[ (])?$tag([ )]|\$)" {} + || true; \
    done | xargs -r -n 1 dirname | sort -u

_go:
    @command -v go >/dev/null || { echo "go is not on PATH; install $(grep '^go ' go.mod) or newer" >&2; exit 2; }

# Each want is COMMAND:PACKAGE or /FILE:PACKAGE.
_need *wants:
    @missing=; \
    for want in "$@"; do \
        case $want in \
            /*) test -e "${want%%:*}" || missing="$missing ${want#*:}" ;; \
            *) command -v "${want%%:*}" >/dev/null || missing="$missing ${want#*:}" ;; \
        esac; \
    done; \
    test -n "$missing" || exit 0; \
    if ! command -v apt-get >/dev/null; then \
        echo "missing here, and there is no apt-get to install it:$missing" >&2; exit 2; \
    elif test "$(id -u)" -eq 0; then root=env; \
    elif command -v sudo >/dev/null; then root='sudo -- env'; \
    else echo "missing here; install it as root: apt-get install$missing" >&2; exit 2; \
    fi; \
    echo "installing with apt:$missing" >&2; \
    install="$root DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"; \
    $install $missing >&2 || { $root apt-get update >&2 && $install $missing >&2; } || \
        { echo "apt-get could not install:$missing" >&2; exit 2; }
