// A program that works until it is killed, for "multiproc top".
import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'multiproc'

async function resize(picture) {
  await wait(60 + (picture % 5) * 20)
  if (picture % 61 === 60) throw new TypeError(`picture ${picture} has an unknown colour space`)
}

async function send(mail) {
  await wait(30 + (mail % 3) * 10)
}

const numbers = count => Array.from({ length: count }, (_, index) => index)
const images = new Pool({ processes: 3, name: 'images' })
const mails = new Pool({ processes: 2, name: 'mails', context: 'thread' })
const calls = [
  images.mapSettled(resize, numbers(600), { chunkSize: 1 }),
  mails.map(send, numbers(2000), { chunkSize: 1 }),
]
// Sleep: a rate needs some time.
await wait(6000)
console.log('ready')
await Promise.all(calls)
