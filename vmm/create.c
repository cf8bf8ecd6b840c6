// SPDX-License-Identifier: BSD-2-Clause
//
// Makes a VM out of what the manager handed over: guest memory, the kernel's VM and vCPUs, the
// board, the firmware's tables, the image. Runs once, on the VMM's first thread; but each of
// several vCPUs is made on its own, which is on its core, one after the other.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "libc/kcall.h"
#include "libc/process.h"
#include "libc/time.h"
#include "vmm/board/acpi.h"
#include "vmm/board/irq_router.h"
#include "vmm/cpu/cpuid.h"
#include "vmm/cpu/reset.h"
#include "vmm/load/load.h"
#include "vmm/vmm.h"

static bool setup_failed(const char *what, int64_t status)
{
    printf("%s: status %" PRId64 "\n", what, status);
    return false;
}

static bool create_vm(struct vmm *vmm, const struct start_block *start)
{
    uint64_t flags = (start->vmm.catch_up != 0 ? VM_CATCH_UP : 0) |
                     (vmm->vcpus > 1 ? VM_SMP : 0);
    int64_t status = kcall_vm_create(flags);

    if (status < 0)
        return setup_failed("creating the VM", status);
    vmm->host.vm = (handle_t)status;
    return true;
}

// Where a PC's adapters have their ROMs there is nothing; but kernels search all of it for tables,
// 16 bytes after 16 bytes. So the frames behind this hole hold what nothing reads as, and the guest
// may read them. A write or a fetch exits, and finds nothing there.
static int64_t map_rom_area(const struct ram_source *source)
{
    const uint64_t bytes = RAM_TABLES - RAM_TEXT_END;
    const handle_t memory = source->first;
    int64_t status = kcall_mem_map(HANDLE_SELF, memory, RAM_TEXT_END, bytes,
                                   GUEST_RAM_VA + RAM_TEXT_END, PROT_READ | PROT_WRITE);

    if (status < 0)
        return status;
    memset((void *)(GUEST_RAM_VA + RAM_TEXT_END), 0xFF, bytes);
    return kcall_vm_map(source->vm, memory, RAM_TEXT_END, bytes, RAM_TEXT_END, PROT_READ);
}

static const char *ram_problem(int64_t status)
{
    switch (status) {
    case ERR_QUOTA:
        return "more than this VM's quota";
    case ERR_FULL:
        return "the host's free memory is in too many pieces";
    case ERR_MEMORY:
        return "the host has not that much";
    default:
        return "it cannot be taken or mapped";
    }
}

static bool create_ram(struct vmm *vmm, uint64_t bytes)
{
    struct ram_source *source = &vmm->source;
    int64_t status;

    if (bytes < RAM_MIN || bytes > RAM_MAX) {
        printf("memory of %" PRIu64 " KB: it takes %llu KB to %llu GB\n", bytes >> 10,
               RAM_MIN >> 10, RAM_MAX >> 30);
        return false;
    }
    ram_init(&vmm->ram, (uint8_t *)GUEST_RAM_VA, bytes);
    source->vm = vmm->host.vm;
    status = ram_create(source, &vmm->ram);
    if (status < 0) {
        printf("memory of %" PRIu64 " MB: %s (status %" PRId64 ", after %u pieces)\n",
               bytes >> 20, ram_problem(status), status, source->blocks);
        return false;
    }
    vmm->demand = (struct demand){ source->vm, source->first };
    status = map_rom_area(source);
    if (status < 0)
        return setup_failed("mapping the adapters' ROM area", status);
    return true;
}

// Nobody reads or writes it: that it is there tells the CPU to do what is to be done.
static int64_t map_apic_page(handle_t vm)
{
    int64_t page = kcall_mem_create(PAGE_SIZE, PAGE_SIZE, 0);
    return page < 0 ? page : kcall_vm_map(vm, (handle_t)page, 0, PAGE_SIZE, LAPIC_BASE,
                                          PROT_READ | PROT_WRITE);
}

static bool create_vcpu(struct vmm *vmm, const struct start_block *start, unsigned id)
{
    struct vcpu *vcpu = &vmm->vcpu[id];
    uint64_t va = VCPU_PAGE_VA + id * PAGE_SIZE;
    int64_t page = process_map_pages(va, PAGE_SIZE, MEM_KERNEL);
    struct cpuid_table *cpuid;
    int64_t handle;

    if (page < 0)
        return setup_failed("memory for a vCPU's page", page);
    *vcpu = (struct vcpu){ .page = (struct vcpu_page *)va, .vmm = vmm, .id = id, .waits = id != 0 };
    cpuid = &vcpu->page->cpuid;
    cpuid_make_here(cpuid, start->tsc_hz, vmm->vcpus);
    msrs_init(&vcpu->msrs, start->tsc_hz, start->fast_strings != 0, cpuid->address_bits,
              cpuid_amd(cpuid));
    vcpu->signature = cpuid_entry_for(cpuid, 1, 0)->regs.eax; // at most all zeroes
    // Of several, the board's thread hears of what is the board's, and each only of what is its
    // own.
    handle = kcall_vcpu_create(vmm->host.vm, id, (handle_t)page,
                               vmm->vcpus == 1 ? vmm->host.event : vmm->lock.event[id]);
    if (handle < 0)
        return setup_failed("creating a vCPU", handle);
    vcpu->handle = (handle_t)handle;
    if (id == 0)
        vmm->host.vcpu = vcpu->handle;
    return true;
}

static void wait_for(handle_t event, uint64_t bits)
{
    uint64_t taken = 0;

    do {
        kcall_event_wait(event, bits, 0, &taken);
    } while (taken == 0);
}

// Once all that the vCPU needs to run is there. The loader has set the boot processor's.
static bool set_state(const struct vcpu *vcpu)
{
    if (vcpu->id != 0)
        reset_state(vcpu->page, vcpu->signature, RESET_CR0);
    int64_t status = kcall_vcpu_sregs(vcpu->handle, 1);
    return status >= 0 || setup_failed("setting the vCPU's first state", status);
}

// Here nothing of the C library is there yet.
static handle_t announce(struct vmm *vmm, const struct start_block *start, unsigned id)
{
    int64_t event = kcall_event_create();

    if (event < 0)
        kcall_process_exit(VMM_END_SETUP);
    vmm->lock.event[id] = (handle_t)event;
    __atomic_add_fetch(&vmm->ready, 1, __ATOMIC_RELEASE);
    kcall_event_signal(start->vmm.event, VMM_BIT_GO);
    return (handle_t)event;
}

void vmm_create_vcpu(struct vmm *vmm, const struct start_block *start, unsigned id)
{
    handle_t event = announce(vmm, start, id);

    wait_for(event, VMM_BIT_GO);
    vmm_lock(vmm, id);
    vmm->failed += !create_vcpu(vmm, start, id);
    __atomic_add_fetch(&vmm->made, 1, __ATOMIC_RELEASE);
    lock_release(&vmm->lock);
    kcall_event_signal(vmm->host.event, VMM_BIT_GO);
    wait_for(event, VMM_BIT_GO);
    vmm_lock(vmm, id);
    if (!set_state(&vmm->vcpu[id])) {
        fflush(stdout);
        _exit(VMM_END_SETUP);
    }
    lock_release(&vmm->lock);
}

static void vcpus_go(const struct vmm *vmm)
{
    for (unsigned i = 0; i < vmm->vcpus; i++)
        kcall_event_signal(vmm->lock.event[i], VMM_BIT_GO);
}

static void wait_for_all(const struct vmm *vmm, const unsigned *count)
{
    while (__atomic_load_n(count, __ATOMIC_ACQUIRE) < vmm->vcpus)
        wait_for(vmm->host.event, VMM_BIT_GO);
}

static bool create_vcpus(struct vmm *vmm, const struct start_block *start)
{
    int64_t status = start->apic_page != 0 ? map_apic_page(vmm->host.vm) : OK;

    if (status < 0)
        return setup_failed("mapping the local APIC's page", status);
    vmm->halted = (1u << vmm->vcpus) - 2; // all but the first wait for their start
    if (vmm->vcpus == 1)
        return create_vcpu(vmm, start, 0);
    wait_for_all(vmm, &vmm->ready);
    vcpus_go(vmm);
    wait_for_all(vmm, &vmm->made);
    vmm_lock(vmm, VMM_THREAD_BOARD);
    return vmm->failed == 0;
}

// What is written there exits, so it is memory of this process only.
static bool create_testdev(struct machine_host *wires)
{
    int64_t memory = process_map_pages(TESTDEV_RAM_VA, TESTDEV_RAM_SIZE, 0);

    if (memory < 0)
        return setup_failed("memory of the test board", memory);
    wires->testdev_ram = (uint8_t *)TESTDEV_RAM_VA;
    return true;
}

static bool create_board(struct vmm *vmm, const struct start_block *start)
{
    struct machine_host wires = { 0 };
    const struct guest_ram *ram = &vmm->ram;
    int64_t timer = kcall_timer_create(vmm->host.event, VMM_BIT_TIMER);

    if (timer < 0)
        return setup_failed("creating the timer", timer);
    vmm->host.timer = (handle_t)timer;
    host_wires(&vmm->host, &wires);
    if (start->vmm.testdev != 0 && !create_testdev(&wires))
        return false;
    wires.hpet = start->vmm.hpet != 0;
    wires.watchdog = start->vmm.watchdog != 0;
    wires.watchdog_bitten = start->vmm.watchdog_bitten != 0;
    wires.watchdog_start_ns = start->vmm.watchdog_s * NS_PER_SEC;
    wires.catch_up = start->vmm.catch_up != 0;
    wires.wall_seconds = (int64_t)(start->wall_seconds +
                                   tsc_to_ns(tsc_read() - start->wall_tsc) / NS_PER_SEC);
    if (!machine_init(&vmm->machine, &wires, ram->low_end, ram->high_end - RAM_HIGH) ||
        (wires.testdev_ram != NULL && !demand_register(&vmm->demand, &vmm->machine.bus))) {
        printf("the board: %s\n", bus_error(&vmm->machine.bus));
        return false;
    }
    return true;
}

// A boot module, read-only.
static bool map_file(struct load_file *file, handle_t memory, uint64_t bytes, uint64_t va,
                     const char *name)
{
    uint64_t mapped = (bytes + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    int64_t status = kcall_mem_map(HANDLE_SELF, memory, 0, mapped, va, PROT_READ);

    if (status < 0) {
        printf("%s: its memory cannot be mapped: status %" PRId64 "\n", name, status);
        return false;
    }
    *file = (struct load_file){ (const uint8_t *)va, bytes, name };
    return true;
}

static bool map_files(struct load *load, const struct start_vmm *start)
{
    _Static_assert(LOAD_MODULE_MAX == START_MODULE_MAX, "the loaders take what the manager gives");

    if (!map_file(&load->image, start->image, start->image_bytes, IMAGE_VA, start->image_name))
        return false;
    if (start->initrd != 0 &&
        !map_file(&load->initrd, start->initrd, start->initrd_bytes, INITRD_VA, "initrd"))
        return false;
    for (; load->modules < start->modules; load->modules++) {
        const struct start_module *from = &start->module[load->modules];
        struct load_module *module = &load->module[load->modules];
        if (!map_file(&module->file, from->file, from->bytes,
                      MODULES_VA + load->modules * MODULE_STRIDE, start->module_text + from->name))
            return false;
        module->cmdline = start->module_text + from->cmdline;
    }
    return true;
}

static void mask_pics(struct bus *bus)
{
    bus_port_write(bus, 0x21, 1, 0xFF);
    bus_port_write(bus, 0xA1, 1, 0xFF);
}

static bool load_guest(struct vmm *vmm, const struct start_vmm *start)
{
    struct load load = {
        .ram = &vmm->ram, .cmdline = start->cmdline,
        .flat = start->flat != 0, .flat_gpa = start->flat_gpa, .entry32 = start->entry32 != 0,
    };
    struct vcpu_page *page = vmm->vcpu[0].page;

    if (!map_files(&load, start))
        return false;
    if (!firmware_write(&vmm->ram, vmm->vcpus, start->hpet != 0, &load.rsdp)) {
        printf("the firmware's tables do not fit into memory\n");
        return false;
    }
    if (!load_image(&load)) {
        printf("%s\n", load.error);
        return false;
    }
    if (load.pic_masked)
        mask_pics(&vmm->machine.bus);
    printf("%s: %s, %" PRIu64 " MB of memory", start->image_name, load.format,
           start->memory >> 20);
    if (vmm->source.blocks > 1)
        printf(" in %u pieces", vmm->source.blocks);
    printf("\n");
    page->sregs = load.state.sregs;
    memcpy(page->gpr, load.state.gpr, sizeof(page->gpr));
    if (vmm->vcpus == 1)
        return set_state(&vmm->vcpu[0]);
    lock_release(&vmm->lock);
    vcpus_go(vmm);
    return true;
}

bool vmm_create(struct vmm *vmm, const struct start_block *start)
{
    const struct start_vmm *vm = &start->vmm;
    int64_t status;

    status = kcall_mem_map(HANDLE_SELF, vm->console.memory, 0, CONSOLE_LINE_BYTES, CONSOLE_VA,
                           PROT_READ | PROT_WRITE);
    if (status < 0)
        return setup_failed("mapping the console line", status);
    host_init(&vmm->host, &vm->console, (void *)CONSOLE_VA);
    vmm->host.event = vmm->host.self = vm->event;
    vmm->vcpus = vm->vcpus;
    vmm->lock.event[VMM_THREAD_BOARD] = vm->event;
    vmm->host.manager = vm->manager;
    vmm->host.manager_bit = vm->manager_bit;
    vmm->host.notes = vm->notes;
    vmm->panic_ends = vm->panic_ends != 0;
    process_output(host_print, &vmm->host);

    insn_cache_init(&vmm->insns);
    if (!create_vm(vmm, start))
        return false;
    // The vCPUs come before the board, whose PIC speaks to one as soon as it is wired.
    return create_ram(vmm, vm->memory) && create_vcpus(vmm, start) && create_board(vmm, start) &&
           load_guest(vmm, vm);
}
