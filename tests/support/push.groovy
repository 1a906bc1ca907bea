// Pushes as Java programs do, with both official clients: push.groovy HOST:PORT.
import io.prometheus.client.CollectorRegistry
import io.prometheus.client.Gauge as OldGauge
import io.prometheus.client.exporter.PushGateway as OldPushGateway
import io.prometheus.metrics.core.metrics.Gauge
import io.prometheus.metrics.core.metrics.Histogram
import io.prometheus.metrics.exporter.pushgateway.Format
import io.prometheus.metrics.exporter.pushgateway.PushGateway
import io.prometheus.metrics.model.registry.PrometheusRegistry

def address = args[0]

def registry = new PrometheusRegistry()
Gauge.builder().name("java_push_a").help("From Java.").register(registry).set(1)
def histogram = Histogram.builder().name("java_push_seconds").classicOnly().register(registry)
histogram.observe(0.3d)
[Format.PROMETHEUS_TEXT, Format.PROMETHEUS_PROTOBUF].each { format ->
    def gateway = PushGateway.builder().address(address).job("java_" + format.name().toLowerCase())
        .groupingKey("path", "/var/tmp").registry(registry).format(format).build()
    gateway.push()
    def more = new PrometheusRegistry()
    def added = Gauge.builder().name("java_push_b").register(more)
    added.set(2)
    gateway.pushAdd(added)
}
def gone = PushGateway.builder().address(address).job("java_gone").registry(registry).build()
gone.push()
gone.delete()

def oldRegistry = new CollectorRegistry()
OldGauge.build().name("java_push_a").help("From Java.").register(oldRegistry).set(3)
def old = new OldPushGateway(address)
old.push(oldRegistry, "java_old", [path: "/var/tmp"])
old.pushAdd(oldRegistry, "java_old", [path: "/var/tmp"])
old.push(oldRegistry, "java_old_gone")
old.delete("java_old_gone")
