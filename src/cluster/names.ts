/** What streams, consumers and subjects of a pool are called. "Names" in README.md says who writes and reads which. */

/** The levels of priority between programs, the highest first. Within a program its scheduler knows any number. */
export const LEVELS = ['high', 'normal', 'low'] as const
export type Level = (typeof LEVELS)[number]

export function levelOf(priority: number): Level {
  if (priority === 0) return 'normal'
  return priority > 0 ? 'high' : 'low'
}

/** A chunk as everybody can name it. */
export interface ChunkName {
  /** Of the program that sent it. */
  session: string
  chunkId: number
}

/** All names of one pool. */
export class PoolNames {
  readonly pool: string
  readonly tasks: string
  readonly results: string
  readonly dead: string
  readonly payloads: string

  constructor(pool: string) {
    this.pool = pool
    this.tasks = `MP_T_${pool}`
    this.results = `MP_R_${pool}`
    this.dead = `MP_D_${pool}`
    this.payloads = `MP_P_${pool}`
  }

  /** `lane`: a level, or a kind of work and a level; see "Requirements" in README.md. */
  task(lane: string, { session, chunkId }: ChunkName): string {
    return `mp.t.${this.pool}.${lane}.${session}.${chunkId}`
  }

  /** The chunk on whatever lane. See `#purge()` of `ClusterLink`. */
  taskOnAnyLane(name: ChunkName): string {
    return this.task('*', name)
  }

  tasksOf(session: string): string {
    return `mp.t.${this.pool}.*.${session}.>`
  }

  /** The lane of a chunk of this subject. */
  laneIn(subject: string): string {
    return subject.slice(`mp.t.${this.pool}.`.length).split('.')[0]!
  }

  tasksAt(lane: string): string {
    return `mp.t.${this.pool}.${lane}.>`
  }

  /** Whether a chunk of this subject requires nothing. */
  isPlain(subject: string): boolean {
    return LEVELS.some(level => subject.startsWith(this.tasksAt(level).slice(0, -1)))
  }

  result({ session, chunkId }: ChunkName): string {
    return `mp.r.${this.pool}.${session}.${chunkId}`
  }

  resultsOf(session: string): string {
    return `mp.r.${this.pool}.${session}.>`
  }

  /** What another program needs to go on with a call; see "Jobs" in README.md. */
  job(session: string): string {
    return `mp.r.${this.pool}.${session}.job`
  }

  /** Which program goes on with it. With `*`: those of all calls. */
  driver(session: string): string {
    return `mp.r.${this.pool}.${session}.driver`
  }

  deadLetter({ session, chunkId }: ChunkName): string {
    return `mp.d.${this.pool}.${session}.${chunkId}`
  }

  payload(name: string, piece: number | '>'): string {
    return `mp.p.${this.pool}.${name}.${piece}`
  }

  /** Programs call work off here. */
  get control(): string {
    return `mp.c.${this.pool}`
  }

  /** What tasks report before their results. */
  reports(session: string): string {
    return `mp.n.${this.pool}.${session}`
  }

  /** Agents say here that they are alive. */
  get agents(): string {
    return `mp.a.${this.pool}`
  }

  /** Whoever asks here hears of every agent at once. */
  get rollCall(): string {
    return `mp.q.${this.pool}`
  }
}

/** The chunk that the subject of a task, a result or a dead letter names: its last two parts. */
export function chunkNameIn(subject: string): ChunkName | undefined {
  const parts = subject.split('.')
  const chunkId = Number(parts.at(-1))
  const session = parts.at(-2)
  if (parts.length < 5 || session === undefined || !Number.isSafeInteger(chunkId) || chunkId < 0)
    return undefined
  return { session, chunkId }
}
