/** Opens the link of a pool to its cluster. Loaded by `new Pool({ cluster })`, and by nothing else. */
import type { Link, LinkEvents } from '../pool/elsewhere.ts'
import type { ClusterSettings } from '../pool/cluster-option.ts'
import { ClusterLink } from './cluster-link.ts'
import { connectNats } from './nats-client.ts'
import { PoolNames } from './names.ts'
import { openStreams } from './pool-streams.ts'

/** @throws ClusterError when the cluster cannot be used. */
export async function openLink(settings: ClusterSettings, events: LinkEvents): Promise<Link> {
  const waiting = { isBackground: true, isCancelled: () => events.isOver }
  const nats = await connectNats(settings, { name: 'pool', ...waiting })
  try {
    const rules = await openStreams(nats, new PoolNames(settings.poolName), settings, waiting)
    return await ClusterLink.open(settings, events, { nats, rules })
  } catch (error) {
    await nats.connection.close()
    throw error
  }
}
