module expfmt-bench

go 1.23

require github.com/prometheus/common v0.66.1
