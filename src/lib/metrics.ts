import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** The values of a metric's labels. */
type Labels = Readonly<Record<string, string | number>>;

/** A set of metrics in Prometheus's text format; one a process, so that no metric is a global. */
export type Metrics = {
  /** A counter: the returned function adds `by`, 1 unless given. */
  counter(name: string, help: string, labels: readonly string[]): (values: Labels, by?: number) => void;
  /** A histogram of seconds: the returned function observes one value. */
  seconds(name: string, help: string, labels: readonly string[]): (values: Labels, seconds: number) => void;
  /** A gauge whose value is read when the metrics are. */
  gauge(name: string, help: string, read: () => number): void;
  /** A gauge with labels whose values are read when the metrics are. */
  gauges(
    name: string,
    help: string,
    labels: readonly string[],
    read: () => readonly { readonly labels: Labels; readonly value: number }[],
  ): void;
  /** All metrics as text, and the media type that it is of. */
  render(): Promise<{ text: string; contentType: string }>;
  /** Stops measuring the process. */
  close(): void;
};

const buckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Opens a set of metrics that begins with those of the process (CPU, memory, event-loop lag). */
export function openMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return {
    counter: (name, help, labels) => {
      const counter = new Counter({ name, help, labelNames: [...labels], registers: [registry] });
      return (values, by = 1) => counter.inc(values, by);
    },
    seconds: (name, help, labels) => {
      const histogram = new Histogram({
        name,
        help,
        labelNames: [...labels],
        buckets,
        registers: [registry],
      });
      return (values, seconds) => histogram.observe(values, seconds);
    },
    gauge: (name, help, read) => {
      new Gauge({
        name,
        help,
        registers: [registry],
        collect() {
          this.set(read());
        },
      });
    },
    gauges: (name, help, labels, read) => {
      new Gauge({
        name,
        help,
        labelNames: [...labels],
        registers: [registry],
        collect() {
          this.reset();
          for (const each of read()) this.set(each.labels, each.value);
        },
      });
    },
    render: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
    close: () => registry.clear(),
  };
}
