// SPDX-License-Identifier: BSD-2-Clause
// The life of VMs as the manager sees it: the console line, the VMM's process with its handles and
// its start block, its end. The manager's thread only.
#include <stdio.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

#define VM_LINE_VA       0x61000000ull
#define VM_LINE_STRIDE   0x20000ull
_Static_assert(CONSOLE_LINE_BYTES <= VM_LINE_STRIDE, "lines do not overlap");
// History and pages for each line, and the program itself; and the cells of a screen.
#define CONSOLE_QUOTA(lines) ((512ull << 10) + (lines) * (76ull << 10))
#define CONSOLE_QUOTA_TEXT   (32ull << 10)
#define CONSOLE_QUOTA_PIXELS (384ull << 10)
// Its own memory, one VM and what that needs; and no processes, so all that a VMM ever makes is on
// its VM's core and in its VM's name.
static const struct process_counts vmm_counts = {
    .mappings = 1024, .memories = 256, .threads = 4, .events = 4, .timers = 4, .vms = 1, .vcpus = 1,
};
// With the boot module "option:many-objects": for tests of what a VMM could do with more.
static const struct process_counts vmm_counts_many = {
    .mappings = 10000, .memories = 1000, .processes = 100, .threads = 2000, .events = 200000,
    .timers = 10000, .vms = 1, .vcpus = 1,
};

static struct start_block block; // too large for the stack; filled anew for each process

static void block_init(const struct manager *manager, enum start_role role)
{
    const struct boot_info *boot = manager->boot;
    memset(&block, 0, sizeof(block));
    block.magic = START_MAGIC;
    block.tsc_hz = boot->tsc_hz;
    block.fast_strings = (uint8_t)boot->fast_strings;
    block.apic_page = boot->apic_page;
    block.entry_tsc = boot->entry_tsc;
    block.wall_seconds = manager->wall_seconds;
    block.wall_tsc = manager->wall_tsc;
    block.role = role;
}

// What goes into the new process's table; *status keeps the first failure.
static handle_t given(int64_t slot, int64_t *status)
{
    if (slot < 0) {
        *status = slot;
    }
    return slot < 0 ? 0 : (handle_t)slot;
}

static handle_t give(handle_t process, handle_t h, uint32_t rights, int64_t *status)
{
    return *status < 0 ? 0 : given(kcall_handle_copy(process, h, rights, 0), status);
}

// An event of somebody else's, to signal these bits of it.
static handle_t give_bits(handle_t process, handle_t event, uint64_t bits, int64_t *status)
{
    return *status < 0 ? 0 : given(kcall_handle_copy_bits(process, event, RIGHT_USE, 0, bits),
                                   status);
}

// Makes what outlives the VM's process: its event, its line and its scheduling context.
static int64_t vm_prepare(struct manager_vm *vm, uint64_t line_va)
{
    int64_t status = kcall_event_create();
    if (status < 0) {
        return status;
    }
    vm->event = (handle_t)status;
    status = kcall_mem_create(CONSOLE_LINE_BYTES, PAGE_SIZE, 0);
    if (status < 0) {
        return status;
    }
    vm->line = (handle_t)status;
    status = kcall_mem_map(HANDLE_SELF, vm->line, 0, CONSOLE_LINE_BYTES, line_va, PROT_READ);
    if (status < 0) {
        return status;
    }
    vm->output = (const struct ring *)(uintptr_t)line_va;
    return move_contexts(vm);
}

int64_t vms_prepare(struct manager *manager)
{
    for (uint32_t i = 0; i < manager->config.n_vms; i++) {
        const struct config_vm *config = &manager->config.vms[i];
        if (config->bad) {
            continue;
        }
        uint64_t line_va = VM_LINE_VA + manager->vms * VM_LINE_STRIDE;
        struct manager_vm *vm = &manager->vm[manager->vms++];
        *vm = (struct manager_vm){.config = config, .state = VM_FAILED};
        int64_t status = vm_prepare(vm, line_va);
        if (status < 0) {
            return status;
        }
    }
    return OK;
}

static void console_line(struct start_line *line, const char *name, handle_t process,
                         handle_t memory, handle_t event, uint64_t bits, int64_t *status)
{
    snprintf(line->name, sizeof(line->name), "%s", name);
    line->memory = give(process, memory, RIGHT_READ | RIGHT_WRITE, status);
    line->event = give_bits(process, event, bits, status);
    line->bits = bits;
}

// The serial port. Nobody needs another: the right to give ports away ends here.
static void console_give_port(struct manager *manager, handle_t process, int64_t *status)
{
    struct start_console *start = &block.console;
    struct manager_port port;
    port_find(manager, &port);
    start->port = port.first;
    start->divisor = port.divisor;
    if (port.irq != 0) {
        start->irq = give(process, port.irq, RIGHT_USE, status);
        *status = *status < 0 ? *status
                              : kcall_irq_bind(port.irq, manager->console_event, CONSOLE_BIT_IRQ);
    }
    if (port.first != 0 && *status >= 0) {
        *status = kcall_ioports_grant(process, BOOT_HANDLE_PORTS, port.first, 8);
    }
    kcall_handle_close(BOOT_HANDLE_PORTS);
}

// The screen, and what the kernel has shown on it.
static void console_give_screen(struct manager *manager, handle_t process, int64_t *status)
{
    struct start_console *start = &block.console;
    const struct manager_log *log = &manager->kernel_log;
    if (manager->boot->screen.width == 0) {
        return;
    }
    start->mode = manager->boot->screen;
    start->screen = give(process, BOOT_HANDLE_SCREEN, RIGHT_READ | RIGHT_WRITE, status);
    if (!report_kernel_log_again(manager)) {
        report_kernel_log_skip(manager);
        start->said_len = log->len < START_SAID_MAX ? log->len : START_SAID_MAX;
        memcpy(start->said, log->text + log->len - start->said_len, start->said_len);
    }
}

static int64_t console_wire(struct manager *manager, handle_t process)
{
    struct start_console *start = &block.console;
    int64_t status = OK;
    block_init(manager, START_CONSOLE);
    start->event = give(process, manager->console_event, RIGHT_USE | RIGHT_WAIT, &status);
    console_give_port(manager, process, &status);
    console_give_screen(manager, process, &status);
    start->lines = manager->vms + 1;
    console_line(&start->line[0], MANAGER_NAME, process, manager->line_memory, manager->event,
                 MANAGER_BIT_LINE | CONSOLE_BIT_FLUSHED, &status);
    start->line[0].bits = MANAGER_BIT_LINE; // when it has input or room
    for (uint32_t i = 0; i < manager->vms; i++) {
        const struct manager_vm *vm = &manager->vm[i];
        console_line(&start->line[i + 1], vm->config->name, process, vm->line, vm->event,
                     VMM_BIT_CONSOLE, &status);
    }
    return status;
}

static uint64_t console_quota(const struct manager *manager)
{
    const struct boot_screen *screen = &manager->boot->screen;
    uint64_t cells = screen->width == 0 ? 0 : screen->text ? CONSOLE_QUOTA_TEXT
                                                           : CONSOLE_QUOTA_PIXELS;
    return CONSOLE_QUOTA(manager->vms + 1) + cells;
}

int64_t vms_start_console(struct manager *manager)
{
    const struct spawn_limits limits = {
        .quota = console_quota(manager),
        .counts = {.mappings = 512, .memories = 64, .threads = 1, .events = 4, .timers = 4},
    };
    int64_t status = spawn_create(&manager->console, &manager->console_program, &limits,
                                  manager->event, MANAGER_BIT_CONSOLE);
    if (status < 0) {
        return status;
    }
    status = console_wire(manager, manager->console.process);
    if (status >= 0) {
        status = spawn_start(&manager->console, &manager->console_program, &block, &manager->sc);
    }
    if (status < 0) {
        spawn_destroy(&manager->console);
        return status;
    }
    manager->console_runs = true;
    return OK;
}

// Gives the VMM a boot module to read; -> its slot and its size.
static handle_t vm_give_module(const struct boot_info *boot, handle_t process, const char *path,
                               uint64_t *bytes, int64_t *status)
{
    int index = module_find(boot, "image", config_module_name(path));
    if (index < 0) {
        *status = ERR_STATE; // config_check() has seen it, and modules do not go away
        return 0;
    }
    *bytes = boot->module[index].bytes;
    return give(process, boot->module[index].handle, RIGHT_READ, status);
}

// Name and command line of a module are cut out of the config's text for it.
static void vm_give_modules(const struct manager *manager, const struct config_vm *config,
                            handle_t process, int64_t *status)
{
    struct start_vmm *start = &block.vmm;
    _Static_assert(CONFIG_MAX_MODULES == START_MODULE_MAX &&
                   CONFIG_MODULE_TEXT == START_MODULE_TEXT, "what the config has fits");
    memcpy(start->module_text, config->module_text, sizeof(start->module_text));
    for (; start->modules < config->n_modules; start->modules++) {
        const struct config_module *from = &config->modules[start->modules];
        const char *path = config->module_text + from->path;
        struct start_module *module = &start->module[start->modules];
        module->name = (uint16_t)(config_module_name(path) - config->module_text);
        module->cmdline = from->cmdline;
        module->file = vm_give_module(manager->boot, process, path, &module->bytes, status);
    }
}

static int64_t vm_wire(struct manager *manager, uint32_t index, handle_t process)
{
    const struct manager_vm *vm = &manager->vm[index];
    const struct config_vm *config = vm->config;
    struct start_vmm *start = &block.vmm;
    int64_t status = OK;
    block_init(manager, START_VMM);
    snprintf(start->name, sizeof(start->name), "%s", config->name);
    snprintf(start->cmdline, sizeof(start->cmdline), "%s", config->cmdline);
    snprintf(start->image_name, sizeof(start->image_name), "%s",
             config_module_name(config->image));
    start->memory = config->memory;
    start->debug = manager->config.log == CONFIG_LOG_DEBUG;
    start->hpet = config->hpet;
    start->testdev = config->testdev;
    start->catch_up = config->catch_up;
    start->event = give(process, vm->event, RIGHT_USE | RIGHT_WAIT, &status);
    start->manager_bit = 1ull << index;
    start->manager = give_bits(process, manager->event, start->manager_bit, &status);
    start->image = vm_give_module(manager->boot, process, config->image, &start->image_bytes,
                                  &status);
    if (config->initrd[0] != '\0') {
        start->initrd = vm_give_module(manager->boot, process, config->initrd,
                                       &start->initrd_bytes, &status);
    }
    vm_give_modules(manager, config, process, &status);
    start->flat = config->flat;
    start->flat_gpa = config->flat_gpa;
    start->entry32 = config->entry32;
    start->vcpus = config->vcpus;
    console_line(&start->console, config->name, process, vm->line, manager->console_event,
                 1ull << (index + 1), &status);
    return status;
}

void vms_start(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    handle_t sc[1 + START_THREADS_MAX];
    struct spawn_limits limits = {
        .threads = vm->config->vcpus > 1 ? vm->config->vcpus : 0,
        .quota = (vm->config->memory + CONFIG_VMM_OVERHEAD + vm->config->tables) &
                 ~(PAGE_SIZE - 1),
        .counts = module_find(manager->boot, "option", "many-objects") >= 0 ? vmm_counts_many
                                                                            : vmm_counts,
    };
    limits.counts.threads += limits.threads;
    limits.counts.events += limits.threads;
    limits.counts.vcpus = vm->config->vcpus;
    for (uint32_t i = 0; i <= limits.threads; i++) {
        sc[i] = move_context_of(vm, i);
    }
    int64_t status = spawn_create(&vm->spawned, &manager->vmm_program, &limits, manager->event,
                                  1ull << index);
    if (status >= 0) {
        struct process_status process;
        status = vm_wire(manager, index, vm->spawned.process);
        if (status >= 0) {
            status = kcall_process_status(vm->spawned.process, &process);
            vm->process = process.id;
        }
        if (status >= 0) {
            vm->start_tsc = tsc_read();
            status = spawn_start(&vm->spawned, &manager->vmm_program, &block, sc);
        }
        if (status < 0) {
            spawn_destroy(&vm->spawned);
        }
    }
    if (status < 0) {
        vm->state = VM_FAILED;
        manager->failed++;
        move_contexts_end(vm);
        report(manager, "VM '%s' cannot be started: %s (%lld)\n", vm->config->name,
               report_status(status), (long long)status);
        return;
    }
    vm->state = VM_RUNNING;
    manager->running++;
    const struct move_cores cores = move_cores_of(vm);
    char vcpus[24] = "", text[MOVE_TEXT];
    if (vm->config->vcpus > 1) {
        snprintf(vcpus, sizeof(vcpus), ", %u vCPUs", (unsigned)vm->config->vcpus);
    }
    report(manager, "VM '%s' started: %s%s, %u MB\n", vm->config->name,
           move_cores_text(text, &cores, true), vcpus, (unsigned)(vm->config->memory >> 20));
}

// Whether the VM's guest has run. By then it has all its memory; and what can wait, such as the
// audit, does not hold its start up.
static bool vm_entered(const struct manager_vm *vm)
{
    struct vcpu_stats stats;
    uint64_t exits = 0;
    if (!list_counters(vm, &stats)) {
        return false;
    }
    for (uint32_t i = 0; i < EXIT_CLASS_COUNT; i++) {
        exits += stats.exits[i];
    }
    return exits != 0;
}

bool vms_made(const struct manager *manager)
{
    for (uint32_t i = 0; i < manager->vms; i++) {
        if (manager->vm[i].spawned.process != 0 && !vm_entered(&manager->vm[i])) {
            return false;
        }
    }
    return true;
}

void vms_stop(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    if (vm->halted) {
        report(manager, "VM '%s' has halted for good, and hears nothing: vm kill ends it\n",
               vm->config->name);
        return;
    }
    vm->state = VM_STOPPING;
    kcall_event_signal(vm->event, VMM_BIT_STOP);
    report(manager, "VM '%s' is asked to power off\n", vm->config->name);
}

// By vm->last. A VMM is believed only what its VM can do.
static enum manager_vm_state vm_state_after(const struct manager_vm *vm)
{
    const struct process_status *process = &vm->last;
    if (process->end != PROCESS_EXITED) {
        return VM_KILLED;
    }
    if (vm->config->testdev && (process->status & ~0xff) == VMM_END_EXIT) {
        return VM_EXITED;
    }
    switch (process->status) {
    case VMM_END_POWEROFF:
        return VM_ENDED;
    case VMM_END_RESET: // with restart = never it stays off
        return VM_RESET;
    case VMM_END_SETUP:
        return VM_FAILED;
    default:
        return VM_KILLED;
    }
}

static void vm_gone(struct manager *manager, struct manager_vm *vm, enum manager_vm_state state)
{
    vm->end_tsc = tsc_read();
    vm->state = state;
    manager->last = vm;
    manager->failed += state == VM_KILLED || state == VM_FAILED;
    manager->running--;
    spawn_destroy(&vm->spawned);
    move_contexts_end(vm);
}

void vms_kill(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    report(manager, "VM '%s' killed by the monitor\n", vm->config->name);
    vm_gone(manager, vm, VM_KILLED);
    report_free_memory(manager, "");
}

void vms_dump(struct manager *manager, uint32_t index, uint32_t vcpu)
{
    struct manager_vm *vm = &manager->vm[index];
    kcall_event_signal(vm->event, VMM_BIT_DUMP(vcpu));
    report(manager, "VM '%s' is asked for its registers, which are on its console then\n",
           vm->config->name);
    list_stats(manager, vm);
}

// Its VMM has said so. The kernel is asked whether it is true.
static void vm_look_halted(struct manager *manager, struct manager_vm *vm)
{
    struct vcpu_stats stats;
    if (vm->halted || !list_counters(vm, &stats) || stats.halted == 0) {
        return;
    }
    vm->halted = true;
    report(manager, "VM '%s' has halted for good (HLT with interrupts off)\n", vm->config->name);
}

void vms_look_stuck(struct manager *manager)
{
    uint32_t halted = 0;
    for (uint32_t i = 0; i < manager->vms; i++) {
        halted += manager->vm[i].spawned.process != 0 && manager->vm[i].halted;
    }
    if (!manager->stuck && halted != 0 && halted == manager->running) {
        manager->stuck = true;
        report(manager, "no VM can go on: each that is left has halted for good\n");
    }
}

void vms_ended(struct manager *manager, uint32_t index)
{
    struct manager_vm *vm = &manager->vm[index];
    // A bit may be left over from a process that the monitor has killed.
    if (vm->spawned.process == 0 ||
        kcall_process_status(vm->spawned.process, &vm->last) != OK) {
        return;
    }
    if (vm->last.end == PROCESS_ALIVE) {
        vm_look_halted(manager, vm);
        return;
    }
    if (manager->config.log == CONFIG_LOG_DEBUG) {
        list_stats(manager, vm); // its vCPU's counters go with its process
    }
    vm->unreported = true;
    vm_gone(manager, vm, vm_state_after(vm));
}
