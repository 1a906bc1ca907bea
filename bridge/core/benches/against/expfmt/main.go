// MB/s of Go's expfmt (what the Pushgateway reads with) on the dumps named on the
// command line.
package main

import (
	"bytes"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func main() {
	var good [][]byte
	total := 0
	for _, path := range os.Args[1:] {
		body, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		if _, err := parser.TextToMetricFamilies(bytes.NewReader(body)); err == nil {
			good = append(good, body)
			total += len(body)
		}
	}
	var rates []float64
	for round := 0; round < 5; round++ {
		start := time.Now()
		for _, body := range good {
			parser := expfmt.NewTextParser(model.UTF8Validation)
			if _, err := parser.TextToMetricFamilies(bytes.NewReader(body)); err != nil {
				panic(err)
			}
		}
		rates = append(rates, float64(total)/time.Since(start).Seconds()/1e6)
	}
	sort.Float64s(rates)
	fmt.Printf("  %-34s %9.0f MB/s   (%d of %d dumps)\n", "Go expfmt", rates[2], len(good), len(os.Args)-1)
}
