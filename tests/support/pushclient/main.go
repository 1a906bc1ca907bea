// Pushes as Go programs do, with the official client: pushclient URL.
package main

import (
	"log"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
)

func gauge(name string, value float64) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "From Go."})
	g.Set(value)
	return g
}

func must(what string, err error) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

func main() {
	url := os.Args[1]
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "go_push_seconds", Help: "From Go."})
	histogram.Observe(0.3)
	pusher := push.New(url, "go_job").Grouping("path", "/var/tmp").Collector(gauge("go_push_a", 1)).Collector(histogram)
	must("push", pusher.Push())
	must("add", push.New(url, "go_job").Grouping("path", "/var/tmp").Collector(gauge("go_push_b", 2)).Add())
	must("push", push.New(url, "go_gone").Collector(gauge("go_push_a", 3)).Push())
	must("delete", push.New(url, "go_gone").Delete())
}

