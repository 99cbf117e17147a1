'use strict'
// What a worker of BullMQ does for a job. Its data is JSON, so bytes travel as text.
const tasks = require('../tasks/tasks.cjs')

const fromJson = value =>
  value?.base64 === undefined ? value : new Uint8Array(Buffer.from(value.base64, 'base64'))
const toJson = value =>
  value instanceof Uint8Array
    ? { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
    : value

module.exports = async ({ name, data: { argument, items } }) =>
  items === undefined ? toJson(await tasks[name](fromJson(argument))) : items.map(item => tasks[name](item))
