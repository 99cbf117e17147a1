/**
 * Asks servers that may have no leader at the moment: they are starting, or elect another one after a death. Invariant:
 * what is only passing is asked again until `connectionTimeout`, and what is refused is an error at once.
 */
import type { ClusterSettings } from '../pool/cluster-option.ts'

/** Who waits. */
export interface Waiting {
  isCancelled?: () => boolean
  /** Whoever waits for it keeps the program alive, and nobody else. */
  isBackground?: boolean
}

const betweenAttemptsMs = 250
/**
 * JetStream with several replicas: another write of this key, perhaps this very one, has come and is not on the majority
 * of them. What becomes of it is known in a moment.
 */
const WRITE_UNDER_WAY = 10_164

/** `ask` is called again as a whole, and may have been answered in part before. */
export async function untilAnswered<T>(
  { connectionMsMax }: Pick<ClusterSettings, 'connectionMsMax'>,
  ask: () => Promise<T>,
  { isCancelled = () => false, isBackground = false }: Waiting = {},
): Promise<T> {
  const beganMs = performance.now()
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!isPassing(error) || isCancelled() || performance.now() - beganMs > connectionMsMax) throw error
      await new Promise(resolve => {
        const timer = setTimeout(resolve, betweenAttemptsMs)
        if (isBackground) timer.unref()
      })
    }
  }
}

/** Whether it may be another time: the server is away, or has no leader. */
export function isPassing(error: unknown): boolean {
  if (isForbidden(error)) return false
  const { name, code, status, cause } = error as Error & { code?: unknown; status?: unknown; cause?: Error }
  if (name === 'JetStreamApiError') return status === 503 || code === WRITE_UNDER_WAY
  // Nobody answers, because no server is ready; or one does, and says that this account has no JetStream.
  if (name === 'JetStreamNotEnabled') return cause?.name !== 'JetStreamApiError'
  return [
    'TimeoutError',
    'NoRespondersError',
    'RequestError',
    'ConnectionError',
    'ClosedConnectionError',
    'DrainingConnectionError',
    'JetStreamError',
  ].includes(name ?? '')
}

/** This user may not do that: the client says so in the error itself, or in its cause. */
export function isForbidden(error: unknown): boolean {
  const { name, cause } = error as Error
  return name === 'PermissionViolationError' || (cause !== undefined && isForbidden(cause))
}
