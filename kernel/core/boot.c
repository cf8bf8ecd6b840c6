// SPDX-License-Identifier: BSD-2-Clause
// The boot core's last steps: the manager is made from its module and started. Nothing else runs
// yet, so locks are taken for the assertions' sake only; every failure is the end, with a message.
#include "kernel/abi/elf.h"
#include "kernel/core/syscall.h"
#include "kernel/lib/string.h"

#define MANAGER_MODULE "bin:manager"
#define SEGMENTS_MAX   16

static struct process *manager;

static void must(bool good, const char *what)
{
    if (!good)
        panic("cannot start the manager: %s", what);
}

static uint32_t find_module(const struct boot_info *info)
{
    for (uint32_t i = 0; i < info->modules; i++)
        if (memcmp(info->module[i].name, MANAGER_MODULE, sizeof(MANAGER_MODULE)) == 0)
            return i;
    panic("no boot module is named %s: is grub.cfg's list of modules complete?", MANAGER_MODULE);
}

// A memory object with zeros, mapped into the manager. Returns it; `va` lies in its first page.
static struct memory *place(uint64_t va, uint64_t bytes, uint8_t prot)
{
    enum status status;
    uint64_t start = align_down(va, PAGE_SIZE), size = align_up(va + bytes, PAGE_SIZE) - start;
    struct memory *m = memory_make(manager, size, PAGE_SIZE, 0, &status);
    must(m, "no memory for a segment");
    while (!memory_zero_piece(m))
        spin_lock(&kernel_lock);
    struct mapping *map = space_map(&manager->space, m, 0, size, start, prot, &status);
    must(map, "a segment overlaps another");
    while (map->mapped < size)
        must(mapping_map(map) == OK, "no memory for page tables");
    return m;
}

// The kernel has a mapping of neither the file nor the segment.
static void copy(struct hpa to, struct hpa from, uint64_t bytes)
{
    static char buffer[PAGE_SIZE];
    for (uint64_t at = 0; at < bytes; at += sizeof(buffer)) {
        uint64_t part = min_u64(bytes - at, sizeof(buffer));
        arch_read(buffer, HPA(from.v + at), part);
        arch_write(HPA(to.v + at), buffer, part);
    }
}

static void load_segment(struct hpa file, uint64_t size, const struct elf64_phdr *s)
{
    must(s->filesz <= s->memsz && s->offset <= size && s->filesz <= size - s->offset,
         "a segment lies outside of its file");
    must(s->vaddr >= USER_START && s->vaddr < USER_END && s->memsz <= USER_END - s->vaddr,
         "a segment lies outside of user addresses");
    must((s->flags & (PF_W | PF_X)) != (PF_W | PF_X), "a segment is writable and executable");
    struct memory *m = place(s->vaddr, s->memsz, PROT_READ | (s->flags & PF_W ? PROT_WRITE : 0) |
                                                     (s->flags & PF_X ? PROT_EXEC : 0));
    copy(HPA(m->base.v + s->vaddr % PAGE_SIZE), HPA(file.v + s->offset), s->filesz);
}

static uint64_t load_elf(struct hpa file, uint64_t bytes)
{
    struct elf64_header h;
    struct elf64_phdr s;
    must(bytes >= sizeof(h), "its file is too short");
    arch_read(&h, file, sizeof(h));
    must(memcmp(h.ident, ELF64_IDENT, 7) == 0 && h.type == ELF_EXEC, "not a static ELF-64 file");
    must(h.phentsize == sizeof(s) && h.phnum <= SEGMENTS_MAX && h.phoff <= bytes &&
         h.phnum * sizeof(s) <= bytes - h.phoff, "bad ELF headers");
    for (unsigned i = 0; i < h.phnum; i++) {
        arch_read(&s, HPA(file.v + h.phoff + i * sizeof(s)), sizeof(s));
        if (s.type == PT_LOAD && s.memsz)
            load_segment(file, bytes, &s);
    }
    must(h.entry >= USER_START && h.entry < USER_END, "bad entry point");
    return h.entry;
}

static void give(uint64_t slot, struct object *o, uint8_t rights, enum status status)
{
    must(o, status == ERR_MEMORY ? "no memory" : "no quota");
    must(handle_set(manager, slot, o, rights) == (int)slot, "its handle table is full");
}

static void give_module(struct boot_facts *facts, unsigned index)
{
    struct boot_module *b = &facts->info.module[index];
    enum status status;
    if (!b->bytes)
        return; // an empty file: there is nothing to have a handle of
    struct memory *m = memory_wrap(manager, facts->module[index], align_up(b->bytes, PAGE_SIZE),
                                   MEM_MODULE, &status);
    b->handle = BOOT_HANDLE_MODULE + index;
    give(b->handle, m ? &m->object : NULL, RIGHT_READ | RIGHT_USE | RIGHT_COPY, status);
}

static void give_devices(const struct boot_facts *facts)
{
    enum status status;
    struct object *o = object_alloc(OBJ_SYSTEM, manager, &status);
    give(BOOT_HANDLE_SYSTEM, o, RIGHT_READ | RIGHT_USE | RIGHT_CONTROL | RIGHT_COPY, status);
    o = object_alloc(OBJ_IOPORTS, manager, &status);
    give(BOOT_HANDLE_COM1_PORTS, o, RIGHT_USE | RIGHT_COPY, status);
    object_to(o, ioports)->first = facts->log_port;
    object_to(o, ioports)->count = 8;
    struct irq *irq = irq_make(manager, facts->log_gsi, &status);
    give(BOOT_HANDLE_COM1_IRQ, irq ? &irq->object : NULL, RIGHT_USE | RIGHT_COPY, status);
}

static void give_info(struct boot_facts *facts)
{
    struct boot_info *info = &facts->info;
    info->magic = BOOT_MAGIC;
    info->tsc_hz = arch_tsc_hz();
    info->cores = cpu_count;
    for (uint32_t i = 0; i < info->modules; i++)
        give_module(facts, i);
    arch_write(place(BOOT_INFO_VA, BOOT_INFO_SIZE, PROT_READ)->base, info, sizeof(*info));
}

void core_start(struct boot_facts *facts)
{
    enum status status;
    objects_init();
    spin_lock(&kernel_lock);
    manager = process_make(NULL, frames_count_free() * PAGE_SIZE, NULL, &status);
    must(manager, "no memory");
    give_devices(facts);
    give_info(facts);
    place(BOOT_STACK_TOP - BOOT_STACK_SIZE, BOOT_STACK_SIZE, PROT_READ | PROT_WRITE);
    uint32_t module = find_module(&facts->info);
    uint64_t entry = load_elf(facts->module[module], facts->info.module[module].bytes);
    // Best effort: it gives itself a share when it has read the config.
    struct sc *sc = sc_make(manager, this_cpu()->id, 0, 0, &status);
    if (sc)
        sc->soft = 1; // the system's
    give(BOOT_HANDLE_SC, sc ? &sc->object : NULL, RIGHT_ALL, status);
    struct thread *t = thread_make(manager, sc, &status);
    must(t, "no memory");
    arch_thread_init(t, entry, BOOT_STACK_TOP, BOOT_INFO_VA);
    t->started = 1;
    spin_unlock(&kernel_lock);
    thread_wake(t);
    sched_run();
}
