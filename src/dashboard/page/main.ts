/**
 * The page of the dashboard: takes what the server sends, and has each part show it. Invariant: a paused page goes on to
 * take what comes, and shows it when it goes on.
 */
import type UPlot from 'uplot'
import type { Point, ProgramsMessage, TaskFailure, UpdateMessage } from '../live-messages.ts'
import { CallsList } from './calls-list.ts'
import { Charts } from './charts.ts'
import { byId, make, setAttribute, setText } from './elements.ts'
import { FailuresList } from './failures-list.ts'
import { duration } from './format.ts'
import { LiveStream, type StreamState } from './live-stream.ts'
import { Overview } from './overview.ts'
import { SmallTables } from './tables.ts'
import { setUpTheme } from './theme.ts'
import { Timeline } from './timeline.ts'
import { WorkersTable } from './workers-table.ts'

const STATES: Record<StreamState, string> = {
  connecting: 'connecting',
  live: 'live',
  lost: 'connection lost, trying again',
  ended: 'the program has ended',
}

// The server gives uPlot under this name; a variable, because there is no such file beside the source.
const chartLibrary: string = './uplot.js'
const { default: plot } = (await import(chartLibrary)) as { default: typeof UPlot }

const charts = new Charts(byId('charts'), plot)
const timeline = new Timeline(byId('timeline'), byId('timeline-details'))
const overview = new Overview(byId('overview'))
const calls = new CallsList(byId('calls'))
const failuresList = new FailuresList(byId('failures'), byId('failures-count'))
const workers = new WorkersTable(byId('workers'))
const tables = new SmallTables(byId('longest'), byId('tables'))

let points: Point[] = []
let failures: TaskFailure[] = []
let bounds = { pointsMax: 600, failuresMax: 100 }
let latest: UpdateMessage | undefined
let isPaused = false
let shownProgram: ProgramsMessage['programs'][number] | undefined

function show(): void {
  if (!latest || isPaused || document.hidden) return
  const point = points.at(-1)
  overview.show(latest, point)
  charts.show(points, latest.pools)
  timeline.show(latest.pools, point?.atMs)
  calls.show(latest.pools)
  failuresList.show(failures, latest.failureCount)
  workers.show(latest.pools)
  tables.show(latest.pools, latest.tables)
  showProgram()
}

function showProgram(): void {
  if (!shownProgram) return
  const { command, pid, node, startedAtMs, state } = shownProgram
  setText(byId('program-command'), command)
  setAttribute(byId('program-command'), 'title', command)
  const endMs = state === 'ended' ? (points.at(-1)?.atMs ?? Date.now()) : Date.now()
  const ran = `${state === 'ended' ? 'ran' : 'runs'} for ${duration(endMs - startedAtMs)}`
  setText(byId('program-facts'), [`pid ${pid}`, `Node.js ${node}`, ran].join(' · '))
}

function showState(state: StreamState): void {
  const pill = byId('connection')
  const program = shownProgram?.state
  const word =
    state !== 'live' || program === undefined || program === 'running'
      ? STATES[state]
      : program === 'silent'
        ? 'the program is busy or stopped'
        : STATES.ended
  setText(pill, word)
  setAttribute(
    pill,
    'data-state',
    word === STATES.live ? 'live' : state === 'live' ? (program ?? state) : state,
  )
  timeline.hasEnded = word === STATES.ended
}

let streamState: StreamState = 'connecting'

const stream = new LiveStream({
  onState: state => {
    streamState = state
    showState(state)
  },
  onPrograms: ({ programs, shown }) => {
    shownProgram = programs.find(({ id }) => id === shown)
    const choice = byId('program-choice') as HTMLSelectElement
    choice.hidden = programs.length < 2
    byId('program-command').hidden = programs.length >= 2
    choice.replaceChildren(
      ...programs.map(({ id, pid, command, state }) =>
        make(
          'option',
          { attributes: { value: id, ...(id === shown ? { selected: '' } : {}) } },
          `${command} (pid ${pid}${state === 'ended' ? ', ended' : ''})`,
        ),
      ),
    )
    showState(streamState)
    showProgram()
  },
  onHistory: history => {
    points = history.points
    failures = history.failures
    bounds = history
    timeline.reset(history.timelineMs)
    timeline.add(history.spans)
  },
  onUpdate: update => {
    latest = update
    if (update.point) points.push(update.point)
    if (points.length > bounds.pointsMax) points.shift()
    failures.push(...update.failures)
    failures.splice(0, failures.length - bounds.failuresMax)
    timeline.add(update.spans)
    show()
  },
})

byId('program-choice').addEventListener('change', event => {
  stream.open((event.target as HTMLSelectElement).value)
})

function pause(): void {
  isPaused = !isPaused
  setAttribute(byId('pause'), 'aria-pressed', String(isPaused))
  setText(byId('pause'), isPaused ? 'Go on' : 'Pause')
  timeline.isPaused = isPaused
  show()
}

byId('pause').addEventListener('click', pause)
document.addEventListener('keydown', event => {
  const isTyping = event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey
  if (event.key === 'p' && !isTyping) pause()
})
document.addEventListener('visibilitychange', show)
byId('timeline-window').addEventListener('change', event => {
  timeline.windowMs = Number((event.target as HTMLInputElement).value) * 1000
})
setUpTheme(() => {
  charts.redraw()
  timeline.redraw()
})
stream.open()
