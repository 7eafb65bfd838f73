import { AsyncLocalStorage } from 'node:async_hooks'
import { context, metrics, ROOT_CONTEXT, trace, type Context, type ContextManager } from '@opentelemetry/api'
import { MeterProvider, PeriodicExportingMetricReader, type PushMetricExporter } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base'

/**
 * Registers where spans and metrics go. `@opentelemetry/sdk-node` does all this for an app of your own, and more; this needs no more
 * packages than it shows.
 *
 * @param interval milliseconds between two exports of the metrics
 * @returns functions that export what is left, and end it
 */
export function startTelemetry(
  exporters: { readonly spans: SpanExporter; readonly metrics: PushMetricExporter },
  interval: number,
): { readonly flush: () => Promise<void>; readonly end: () => Promise<void> } {
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporters.spans)] })
  const reader = new PeriodicExportingMetricReader({
    exporter: exporters.metrics,
    exportIntervalMillis: interval,
    exportTimeoutMillis: interval,
  })
  const meterProvider = new MeterProvider({ readers: [reader] })
  context.setGlobalContextManager(createContextManager())
  trace.setGlobalTracerProvider(tracerProvider)
  metrics.setGlobalMeterProvider(meterProvider)
  return {
    flush: async () => {
      await tracerProvider.forceFlush()
      await meterProvider.forceFlush()
    },
    end: async () => {
      for (const api of [context, trace, metrics]) api.disable()
      await tracerProvider.shutdown()
      await meterProvider.shutdown()
    },
  }
}

/** Makes the span of a request the parent of what is done for it. */
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
