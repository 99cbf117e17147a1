/** What `multiproc/cluster` exports: agents, which work for the pools of other machines. */
export { type Agent, type AgentOptions, startAgent } from './agent.ts'
export type { ClusterOptions, ClusterTlsOptions } from '../pool/cluster-option.ts'
