// ipfs-car: what it packs is taken in under its root, and what we give out it unpacks to the same files.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { noise, site } from './content.mjs'
import { form, gateway, newKey, upload } from './network.mjs'

const program = fileURLToPath(new URL('node_modules/.bin/ipfs-car', import.meta.url))
async function ipfsCar (...args) {
  return (await promisify(execFile)(program, args)).stdout.trim()
}

let key
let folder
before(async () => {
  key = await newKey('car')
  folder = await mkdtemp(join(tmpdir(), 'pinstripe-car-'))
})
after(() => rm(folder, { recursive: true, force: true }))

async function write (root, files) {
  for (const { path, content } of files) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
}

async function holds (root, files) {
  for (const { path, content } of files) {
    assert.deepEqual(await readFile(join(root, path)), content, path)
  }
}

test('a packed directory keeps its root, and reads back', async () => {
  const files = site(21)
  await write(join(folder, 'site'), files)
  const root = await ipfsCar('pack', join(folder, 'site'), '--no-wrap', '--output', join(folder, 'site.car'))
  const answer = await upload(key, await readFile(join(folder, 'site.car')), '?unpack=car')
  assert.equal(answer.cid, root)
  assert.equal((await upload(key, form(files))).cid, root, 'as it comes out of a form')
  for (const { path, content } of files) {
    const path_ = path.split('/').map(encodeURIComponent).join('/')
    const read = await fetch(`${gateway}/ipfs/${root}/${path_}`)
    assert.deepEqual(Buffer.from(await read.arrayBuffer()), content, path)
  }
})

test('a packed file of many blocks keeps its root, and reads back', async () => {
  const content = noise(20_000_000, 22)
  await writeFile(join(folder, 'file.bin'), content)
  const root = await ipfsCar('pack', join(folder, 'file.bin'), '--no-wrap', '--output', join(folder, 'file.car'))
  assert.equal((await upload(key, await readFile(join(folder, 'file.car')), '?unpack=car')).cid, root)
  const read = await fetch(`${gateway}/ipfs/${root}`)
  assert.deepEqual(Buffer.from(await read.arrayBuffer()), content)
})

for (const route of ['redirect', 'proxy']) {
  test(`a CAR that is read from us (${route}) is verified and unpacked`, async () => {
    const files = site(23)
    const { cid } = await upload(key, form(files))
    const read = await fetch(`${gateway}/ipfs/${cid}?format=car&route=${route}`)
    assert.equal(read.redirected, route === 'redirect')
    assert.match(read.headers.get('content-type'), /^application\/vnd\.ipld\.car/)
    const car = join(folder, `${route}.car`)
    await writeFile(car, Buffer.from(await read.arrayBuffer()))
    assert.equal(await ipfsCar('roots', car), cid)
    await ipfsCar('unpack', car, '--output', join(folder, route))
    await holds(join(folder, route), files)
  })
}

test('a CAR that lacks a block is refused', async () => {
  await writeFile(join(folder, 'torn.bin'), noise(3_000_000, 99))
  await ipfsCar('pack', join(folder, 'torn.bin'), '--no-wrap', '--output', join(folder, 'torn.car'))
  const car = await readFile(join(folder, 'torn.car'))
  // The header with its length in front, then the first leaf, whose length takes three bytes (a varint): leave that out.
  const header = 1 + car[0]
  const [low, middle, high] = car.subarray(header)
  const leaf = 3 + (low & 0x7f) + ((middle & 0x7f) << 7) + (high << 14)
  const torn = Buffer.concat([car.subarray(0, header), car.subarray(header + leaf)])
  await assert.rejects(upload(key, torn, '?unpack=car'), /422 .*incomplete_dag/)
})
