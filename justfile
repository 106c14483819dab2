# Commands for whoever changes the code; `just` alone lists them. CONTRIBUTING.md says when to run which.

_default:
    @just --list

# the everyday loop
quick:
    cargo nextest run --locked --profile quick

# before a change goes in: everything, on both databases
full:
    cargo nextest run --locked --profile full

# 10,000 seeds of the simulation, the broken builds, all storms
nightly:
    cargo nextest run --locked --profile nightly --run-ignored all

# formatter, lints, links of the documentation, spelling, licences and advisories of dependencies
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items
    typos
    cargo deny --locked check

# a year of billing, with pretend gateways
demo:
    cargo run --locked -- demo

# the pure core in nanoseconds, and the whole program compared with the bare machine
bench:
    cargo bench --locked
    cargo run --locked --release -- bench

# what is tagged and packaged: every check of the pipeline, then the program that systemd/*.service run
release:
    .ci/run
    cargo build --locked --release
    tar -czf "${CARGO_TARGET_DIR:-target}"/rebilld-$(cargo pkgid | sed 's/.*[#@]//').tar.gz \
        README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE docs config systemd -C "${CARGO_TARGET_DIR:-target}/release" rebilld
