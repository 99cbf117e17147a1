import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { ALL_SYNTAX } from '#src/cli/all-syntax.js'
import { checkLeaks } from '../leak-check.js'
import { runCommand } from './run-command.js'
import { WorkFolder } from './work-folder.js'

checkLeaks()

function has(shell: string): boolean {
  return spawnSync(shell, ['-c', 'true']).status === 0
}

/** What a shell prints that has read the completion script. */
async function inShell(shell: string, script: string, cwd?: string): Promise<string[]> {
  const { code, stdout: completion } = await runCommand(['completion', shell])
  assert.equal(code, 0)
  const { stdout, stderr } = spawnSync(shell, shell === 'zsh' ? ['-f'] : [], {
    input: `${shell === 'zsh' ? 'autoload -U compinit; compinit -D -u\n' : ''}${completion}\n${script}`,
    encoding: 'utf8',
    cwd,
  })
  assert.equal(stderr, '')
  return stdout.split('\n').filter(line => line !== '')
}

/** What bash offers for the last of these words. */
async function offeredByBash(words: string[], cwd?: string): Promise<string[]> {
  const quoted = words.map(word => `'${word}'`).join(' ')
  return await inShell(
    'bash',
    `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _multiproc; printf '%s\\n' "\${COMPREPLY[@]}"`,
    cwd,
  )
}

test(
  'completion bash offers commands, options, values and files',
  { skip: !has('bash') && 'no bash' },
  async () => {
    using folder = new WorkFolder()
    folder.write('work file.mjs', '')
    folder.write('sub/other.mjs', '')
    assert.deepEqual(await offeredByBash(['multiproc', '']), [
      ...ALL_SYNTAX.map(({ name }) => name),
      '--help',
      '--version',
    ])
    assert.deepEqual(await offeredByBash(['multiproc', 'ma']), ['map'])
    assert.deepEqual(await offeredByBash(['multiproc', 'map', '--re']), [
      '--require-label',
      '--require-resource',
      '--retries',
      '--retry-delay',
      '--resume',
      '--retry-failed',
    ])
    assert.deepEqual(await offeredByBash(['multiproc', 'map', '-o', 't']), ['text'])
    assert.deepEqual(await offeredByBash(['multiproc', 'completion', '']), ['bash', 'zsh', 'fish'])
    assert.deepEqual(await offeredByBash(['multiproc', 'map', 'w'], folder.path), ['work file.mjs'])
    assert.deepEqual(await offeredByBash(['multiproc', 'map', '--to-folder', ''], folder.path), ['sub'])
    assert.deepEqual(await offeredByBash(['multiproc', 'map', '--retries', ''], folder.path), [])
  },
)

test('completion zsh is a script that zsh reads', { skip: !has('zsh') && 'no zsh' }, async () => {
  assert.deepEqual(await inShell('zsh', 'print $+functions[_multiproc] $_comps[multiproc]'), ['1 _multiproc'])
})

test('completion fish offers commands, options and values', { skip: !has('fish') && 'no fish' }, async () => {
  const offered = await inShell(
    'fish',
    "complete -C 'multiproc map --output '\necho -\ncomplete -C 'multiproc do'",
  )
  assert.deepEqual(
    offered.map(line => line.split('\t')[0]),
    ['json', 'records', 'text', '-', 'doctor'],
  )
})

test('completion has every option of every command, for each shell', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout } = await runCommand(['completion', shell])
    for (const { name, options } of ALL_SYNTAX) {
      assert.ok(stdout.includes(name), `${shell}: ${name}`)
      for (const option of Object.keys(options)) {
        assert.ok(stdout.includes(shell === 'fish' ? `-l ${option} ` : `--${option}`), `${shell}: ${option}`)
      }
    }
  }
})
