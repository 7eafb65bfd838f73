import { AsyncLocalStorage } from 'node:async_hooks'
import { context, metrics, ROOT_CONTEXT, trace, type Context, type ContextManager } from '@opentelemetry/api'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
  type MetricData,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base'
import { onTestFinished } from 'vitest'

/** What has been reported to OpenTelemetry. */
export interface Collected {
  /** The spans that have ended, in that order. */
  readonly spans: (name?: string) => readonly ReadableSpan[]
  readonly metrics: () => Promise<readonly MetricData[]>
  /** Values of a metric, each with its labels. Of a histogram: the count. */
  readonly values: (name: string) => Promise<readonly (readonly [number, object])[]>
}

/** Registers providers that collect everything in memory. They end with the test. */
export function collectTelemetry(): Collected {
  const spans = new InMemorySpanExporter()
  const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 2 ** 31 - 1 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
  context.setGlobalContextManager(createContextManager())
  trace.setGlobalTracerProvider(tracerProvider)
  metrics.setGlobalMeterProvider(meterProvider)
  onTestFinished(async () => {
    for (const api of [context, trace, metrics]) api.disable()
    await Promise.all([meterProvider.shutdown(), tracerProvider.shutdown()])
  })
  const all = async (): Promise<readonly MetricData[]> => {
    measured.reset()
    await meterProvider.forceFlush()
    return measured.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
  }
  return {
    spans: (name) => spans.getFinishedSpans().filter((span) => name === undefined || span.name === name),
    metrics: all,
    values: async (name) =>
      (await all())
        .filter(({ descriptor }) => descriptor.name === name)
        .flatMap(({ dataPoints }) =>
          dataPoints.map(({ value, attributes }) => [typeof value === 'number' ? value : value.count, attributes]),
        ),
  }
}

/** What the OpenTelemetry SDK for Node registers as well. */
function createContextManager(): ContextManager {
  const storage = new AsyncLocalStorage<Context>()
  const manager: ContextManager = {
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (active, run, self, ...args) => storage.run(active, () => run.apply(self, args)),
    bind: (_active, target) => target,
    enable: () => manager,
    disable: () => manager,
  }
  return manager
}
